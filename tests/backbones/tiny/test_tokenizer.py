"""The tiny CLIP's tokens: one a character, opened, closed and padded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.backbones.tiny.tokenizer import CharacterTokenizer
from starprompt.errors import UserError

PRINTABLE = st.text(st.characters(min_codepoint=ord(" "), max_codepoint=ord("~")), max_size=38)
TOKENIZER = CharacterTokenizer()


@given(PRINTABLE)
def test_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.decode(TOKENIZER(text)[0]) == text


@given(st.lists(PRINTABLE, max_size=4))
def test_tokens_open_close_and_pad(texts: list[str]) -> None:
    tokens = TOKENIZER(texts)
    assert tokens.shape == (len(texts), TOKENIZER.context_length)
    assert tokens.dtype == torch.long
    for text, row in zip(texts, tokens, strict=True):
        assert row[0] == TOKENIZER.sot_token_id
        assert row.argmax() == len(text) + 1
        assert row.max() == TOKENIZER.eot_token_id == TOKENIZER.vocab_size - 1
        assert not row[len(text) + 2 :].any()


@given(PRINTABLE.filter(lambda name: len(name) <= 30))
def test_the_placeholder_of_a_prompt_is_one_token(name: str) -> None:
    (placeholder,) = TOKENIZER.encode("X")
    assert TOKENIZER.encode(f"X {name}.") == [placeholder, *TOKENIZER.encode(f" {name}.")]


@given(PRINTABLE.filter(lambda text: len(text) > 10))
def test_a_text_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="characters"):
        TOKENIZER(text, context_length=len(text) + 1)


def test_a_character_beyond_ascii_is_named() -> None:
    with pytest.raises(UserError, match="'é'"):
        TOKENIZER.encode("café")
