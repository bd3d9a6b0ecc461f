"""Captions of glyphs, for the tiny CLIP."""

from __future__ import annotations

import torch
from torch import Tensor

from starprompt.backbones.tiny.glyphs import CAPITAL_LETTERS, DIGIT_WORDS, DIGITS, SMALL_LETTERS
from starprompt.backbones.tiny.tokenizer import CharacterTokenizer

#: "X {}." stands for the texts of prompt learners, which put a learned vector in the place of X.
TEMPLATES = (
    "{}",
    "{}.",
    "X {}.",
    "a photo of {}.",
    "a photo of a {}.",
    "a scan of {}.",
    "an image of {}",
    "this is {}.",
)


def name_of(character: str) -> str:
    """ "the digit seven" for "7", "the small letter g" for "g", "the capital letter G" for "G"."""
    if character in DIGITS:
        return f"the digit {DIGIT_WORDS[int(character)]}"
    if character in SMALL_LETTERS:
        return f"the small letter {character}"
    if character in CAPITAL_LETTERS:
        return f"the capital letter {character}"
    raise ValueError(f"{character!r} is no digit or letter of the fonts")


def caption_tokens(characters: str) -> Tensor:
    """Tokens of every caption: int64 (characters, templates, context length)."""
    tokenizer = CharacterTokenizer()
    return torch.stack(
        [tokenizer([form.format(name_of(char)) for form in TEMPLATES]) for char in characters]
    )
