"""The bytes that an image takes in a ViT, by a formula, so that they are known before a run starts.

N tokens of width D, H heads, an MLP of width M, s bytes a number in products (4, under bfloat16 2).
What autograd keeps of a pre-norm block whose weights are frozen, until the backward pass:

    inputs of both norms     8 N D        float32 in any case, as the sum that runs through is
    queries, keys, values    3 s N D
    attended values            s N D
    attention's row sums     4 N H
    input of GELU              s N M
    norms' statistics       16 N

Inputs of frozen linear layers are not kept: their weights get no gradient. If they are trained,
2 s N D + s N M come on top (the attended values are kept already), and once the image itself.
After the last block only the class token is read: there N is 1 but for the first norm, the keys and
the values. Prefixes of P tokens, which are joined to keys and values, add 2 s (N + P) D, in the
last block 2 s P D. In the first prompted block nothing is kept of what comes before its injection.
A test compares it with what autograd really keeps.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Activations:
    """Bytes an image, and bytes whatever the batch.

    kept       an image, from its forward to its backward pass
    passing    an image, of the block that is being computed, forward or backward
    constant   copies of the weights in the products' format, until the backward pass
    """

    kept: int = 0
    passing: int = 0
    constant: int = 0


def vit_activations(
    vit: Any,
    precision: str,
    *,
    trained: bool = False,
    prompted_before_attention: bool = True,
    prefix_length: int = 0,
) -> Activations:
    """Of a pass with gradients through a timm ViT, whose weights are ``trained`` or frozen.

    prompted_before_attention  False where a frozen ViT's first injection comes after its first
                               attention, as residuals do
    prefix_length              P, of keys and of values, in every block
    """
    size = 2 if precision == "bf16" else 4
    block = vit.blocks[0]
    tokens, width = vit.patch_embed.num_patches + vit.num_prefix_tokens, vit.embed_dim
    hidden, heads, depth = block.mlp.fc1.out_features, block.attn.num_heads, len(vit.blocks)
    one = tokens * width
    attention = size * 4 * one + 4 * tokens * heads
    norm, norm_of_one = 4 * one + 8 * tokens, 4 * width + 8
    kept = (depth - 1) * (attention + 2 * norm + size * tokens * hidden)
    kept += norm + size * (2 * one + 2 * width + hidden) + 4 * heads + 2 * norm_of_one
    if prefix_length:
        kept += 2 * size * ((depth - 1) * tokens + depth * prefix_length) * width
    if trained:
        kept += (depth - 1) * size * (2 * one + tokens * hidden) + size * _pixels(vit)
        kept += size * (one + width + hidden)
    else:
        kept -= norm if prompted_before_attention else norm + attention
    weights = depth * (4 * width * width + 2 * width * hidden)
    if trained:
        weights += vit.patch_embed.proj.weight.numel()
    return Activations(
        kept=kept,
        # the running sum and its gradient; a gradient and two temporaries as wide as the MLP
        passing=8 * one + size * (5 * one + 3 * tokens * hidden),
        constant=2 * weights if precision == "bf16" else 0,
    )


def _pixels(vit: Any) -> int:
    """Numbers in an image."""
    height, width = vit.patch_embed.img_size
    return 3 * height * width


def clip_activations(visual: nn.Module, image_size: int, precision: str) -> Activations:
    """Of CLIP's image encoder, which keeps nothing: what is computed at one time, and no more.

    A transformer's widest block; for other encoders sixteen float32 maps of the image's size.
    """
    transformer: Any = getattr(visual, "transformer", None)
    positions: Any = getattr(visual, "positional_embedding", None)
    if transformer is None or positions is None:
        return Activations(passing=16 * 4 * image_size**2)
    size = 2 if precision == "bf16" else 4
    tokens, width = positions.shape
    block = transformer.resblocks[0]
    hidden = block.mlp.c_fc.out_features
    return Activations(
        passing=size * tokens * (6 * width + 2 * hidden),
        constant=2 * (4 * width * width + 2 * width * hidden) if precision == "bf16" else 0,
    )


def prompted_clip_activations(visual: Any, precision: str) -> Activations:
    """Of a pass through CLIP's frozen image transformer with gradients to modules beside its MLPs.

    As a ViT's, but that the first block keeps nothing of its own, and that QuickGELU, which is made
    of two operations, keeps two maps of the MLP's width where GELU keeps one.
    """
    size = 2 if precision == "bf16" else 4
    tokens, width = visual.positional_embedding.shape
    block, depth = visual.transformer.resblocks[0], len(visual.transformer.resblocks)
    hidden, heads = block.mlp.c_fc.out_features, block.attn.num_heads
    one = tokens * width
    attention, norm = size * 4 * one + 4 * tokens * heads, 4 * one + 8 * tokens
    return Activations(
        kept=(depth - 1) * (attention + 2 * norm + size * 2 * tokens * hidden) + norm,
        passing=8 * one + size * (5 * one + 3 * tokens * hidden),
        constant=2 * depth * (4 * width * width + 2 * width * hidden) if size == 2 else 0,
    )
