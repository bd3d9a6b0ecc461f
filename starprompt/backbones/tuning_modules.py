"""Modules that adapt a block of a frozen ViT with few parameters: adapter, LoRA, prefix.

As LAE has them (gqk/LAE@1680e49, ``libml/model/pet``): each without effect on the values at its
start, or nearly so, and each with a learned scale that starts at 1.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import nn

from starprompt.backbones.adapters import Adapter
from starprompt.backbones.blocks import BesideAttention, Injection, LowRank, Prefix

Kind = Literal["adapter", "lora", "prefix"]


class ParallelAdapter(Adapter):
    """An adapter with a learned scale, beside the attention; ``size`` is its bottleneck."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__(dim, size, learned=True)

    def injection(self, images: int) -> Injection:
        """What a block adds beside its attention."""
        return BesideAttention(self)


class KeyValueLoRA(nn.Module):
    """scale B A on the projections of keys and of values; ``size`` is the rank."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(2, size, dim))
        self.up = nn.Parameter(torch.zeros(2, dim, size))
        self.scale = nn.Parameter(torch.ones(2))
        for matrix in self.down:
            nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))

    def injection(self, images: int) -> Injection:
        """Low-rank changes of a block's keys and values."""
        return LowRank(self.down, self.scale[:, None, None] * self.up)


class KeyValuePrefix(nn.Module):
    """``size`` keys and values, attended to apart from the image's own (:class:`Prefix`)."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(2, size, dim).uniform_(0, 0.01))
        self.scale = nn.Parameter(torch.ones(2))

    def injection(self, images: int) -> Injection:
        """Tokens before a block's keys and values, for ``images`` images."""
        scaled = self.scale[:, None, None] * self.tokens
        keys, values = scaled[:, None].expand(-1, images, -1, -1)
        return Prefix(keys, values, apart=True)


_KINDS = {"adapter": ParallelAdapter, "lora": KeyValueLoRA, "prefix": KeyValuePrefix}


def tuning_modules(kind: Kind, count: int, dim: int, size: int) -> nn.ModuleList:
    """``count`` new modules of a kind for blocks of width ``dim``."""
    return nn.ModuleList(_KINDS[kind](dim, size) for _ in range(count))


def tuned(
    depth: int, layers: Sequence[int], modules: Iterable[nn.Module], images: int
) -> list[Injection]:
    """One entry a block, for a batch of so many images: the modules in ``layers``, else nothing."""
    injections: list[Injection] = [None] * depth
    for layer, module in zip(layers, modules, strict=True):
        injections[layer] = module.injection(images)  # type: ignore[operator]
    return injections
