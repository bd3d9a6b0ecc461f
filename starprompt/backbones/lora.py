"""LoRA on the attention of a frozen ViT: low-rank updates of the key and value projections.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022 (arXiv 2106.09685),
Sec. 4.1: W <- W + B A with A (r, D) and B (D, r), and B = 0 at the start.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from starprompt.backbones.blocks import Injection, LowRank
from starprompt.backbones.prompted_vit import PromptedViT


def low_rank_at(depth: int, layers: Sequence[int], down: Tensor, up: Tensor) -> list[Injection]:
    """One entry a block: :class:`LowRank` in ``layers``, else nothing.

    down (L, 2, r, D) and up (L, 2, D, r): A and B by place in ``layers``, of keys, then of values
    """
    injections: list[Injection] = [None] * depth
    for place, layer in enumerate(layers):
        injections[layer] = LowRank(down[place], up[place])
    return injections


@torch.no_grad()
def merge_low_rank(vit: PromptedViT, layers: Sequence[int], down: Tensor, up: Tensor) -> None:
    """Add B A to the weights of the key and value projections in ``layers``, for good.

    down, up  as in :func:`low_rank_at`
    """
    blocks: Any = vit.vit.blocks
    for layer, update in zip(layers, up @ down, strict=True):
        weight = blocks[layer].attn.qkv.weight  # (3 D, D): queries, keys, values
        weight[vit.dim :].add_(update.flatten(0, 1))
