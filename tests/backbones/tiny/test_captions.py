"""The tiny CLIP's captions: each fits, no two are alike."""

import pytest

from starprompt.backbones.tiny import glyphs
from starprompt.backbones.tiny.captions import TEMPLATES, caption_tokens, name_of
from starprompt.backbones.tiny.tokenizer import CharacterTokenizer

TOKENIZER = CharacterTokenizer()
ALL = glyphs.DIGITS + glyphs.LETTERS


def test_every_caption_fits_and_differs() -> None:
    tokens = caption_tokens(ALL)
    assert tokens.shape == (len(ALL), len(TEMPLATES), TOKENIZER.context_length)
    assert len({tuple(row.tolist()) for row in tokens.flatten(0, 1)}) == len(ALL) * len(TEMPLATES)
    assert [name_of(char) for char in "7gG"] == [
        "the digit seven",
        "the small letter g",
        "the capital letter G",
    ]


def test_characters_are_named_by_their_kind() -> None:
    assert name_of("7") == "the digit seven"
    assert name_of("0") == "the digit zero"
    assert name_of("g") == "the small letter g"
    assert name_of("G") == "the capital letter G"
    with pytest.raises(ValueError, match="'!' is no digit or letter"):
        name_of("!")


def test_tokens_stand_by_character_and_template() -> None:
    tokens = caption_tokens("7g")
    assert tokens.shape == (2, len(TEMPLATES), 40)
    read = CharacterTokenizer().decode
    assert read(tokens[0, 0]) == "the digit seven"
    assert read(tokens[1, 2]) == "X the small letter g."
