"""Text to tokens, one printable ASCII character each, behind open_clip's tokenizer interface.

A byte-pair vocabulary has 49,408 rows of which the tiny CLIP's captions would use a handful; with
characters the embedding table has 98 rows and any class name is still legible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from starprompt.errors import UserError

if TYPE_CHECKING:
    import torch

CONTEXT_LENGTH = 40

_ALPHABET = "".join(chr(code) for code in range(ord(" "), ord("~") + 1))
_PAD = 0
_FIRST = 1


class CharacterTokenizer:
    """Maps text to ``[SOS, one id per character, EOT, padding ...]``.

    Ids: 0 pads, 1 to 95 are the printable ASCII characters in code order, 96 opens a text and 97
    closes it. The closing id is the largest, so CLIP's pooling at ``text.argmax(dim=-1)`` finds it.
    """

    def __init__(self, context_length: int = CONTEXT_LENGTH) -> None:
        if context_length < 2:
            raise UserError(f"a context of {context_length} tokens is too short; give at least 2")
        self.context_length = context_length
        self.pad_token_id = _PAD
        self.sot_token_id = _FIRST + len(_ALPHABET)
        self.eot_token_id = self.sot_token_id + 1
        self.vocab_size = self.eot_token_id + 1
        self._id_of = {character: _FIRST + i for i, character in enumerate(_ALPHABET)}

    def encode(self, text: str) -> list[int]:
        """The ids of the characters of ``text``, without the opening and closing ids.

        Raises:
            UserError: a character is not printable ASCII.
        """
        try:
            return [self._id_of[character] for character in text]
        except KeyError as unknown:
            raise UserError(
                f"the tiny CLIP reads printable ASCII only, not {unknown.args[0]!r} in "
                f"{text!r}; change the class name or the template"
            ) from None

    def decode(self, tokens: Sequence[int] | torch.Tensor) -> str:
        """The text of ``tokens``; opening, closing and padding ids read as nothing."""
        last = _FIRST + len(_ALPHABET)
        return "".join(
            _ALPHABET[int(token) - _FIRST] for token in tokens if _FIRST <= int(token) < last
        )

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> torch.Tensor:
        """Tokens of one text or several: int64, (number of texts, context length).

        Raises:
            UserError: a text does not fit, since cutting it would cut the class name.
        """
        import torch

        length = self.context_length if context_length is None else context_length
        listed = [texts] if isinstance(texts, str) else list(texts)
        tokens = torch.full((len(listed), length), self.pad_token_id, dtype=torch.long)
        for row, text in zip(tokens, listed, strict=True):
            ids = [self.sot_token_id, *self.encode(text), self.eot_token_id]
            if len(ids) > length:
                raise UserError(
                    f"{text!r} has {len(text)} characters, but the tiny CLIP reads at most "
                    f"{length - 2}; shorten the class name or the template"
                )
            row[: len(ids)] = torch.tensor(ids)
        return tokens
