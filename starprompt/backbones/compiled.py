"""torch.compile for the image encoders, block by block and for one batch size.

One compiled block serves all blocks of the same shape, which takes seconds where a whole encoder
takes minutes. Only batches of the first size that an encoder sees run compiled. A task's last,
smaller batch runs as written, so that no second size is compiled.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

BACKEND = "inductor"


class FirstSize:
    """Around an encoder's pass: compiled code for batches as large as the first, else none."""

    def __init__(self) -> None:
        self._size: int | None = None

    def __call__(self, images: int) -> AbstractContextManager[object]:
        self._size = self._size or images
        if images == self._size:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, compiled at its first call, without dynamic shapes."""
    return torch.compile(function, dynamic=False, backend=BACKEND)


def compile_blocks(blocks: Iterable[nn.Module]) -> None:
    """Let calls of these modules run compiled code, in place."""
    for block in blocks:
        block.compile(dynamic=False, backend=BACKEND)
