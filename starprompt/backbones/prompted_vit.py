"""A timm Vision Transformer with prompts injected layer by layer.

The transformer itself is timm's, weights unchanged; only the walk through its blocks is ours,
because a prompt enters in the middle of the attention. Seven forms of injection:

* ``Residual(at="value")``: the vector is added to the value vectors of every token (the released
  code). Attention rows sum to 1, so this is the same as adding it to the attended values, before
  the output projection; that is what is computed, and attention itself is left to PyTorch.
* ``Residual(at="post_attention")``: x <- x + MSA(LN(x)) + residual (the paper's Eq. 6).
* ``Prefix``: key and value tokens are prepended to the attention's own (prefix tuning).
* ``LowRank``: low-rank matrices are added to the key and value projections (LoRA).
* ``Tokens``: whole tokens stand behind the image's in one block alone (VPT-Deep).
* ``BesideMLP``: a module's output is added to that of the MLP (AdaptFormer's adapters).
* ``BesideAttention``: a module's output is added to that of the attention (parallel adapters).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.activations import Activations, vit_activations
from starprompt.backbones.compiled import FirstSize, compiled
from starprompt.errors import UserError
from starprompt.precision import in_tower


@dataclass(frozen=True)
class Residual:
    """One vector an image, ``vector`` (B, D), added at one of two places of a block."""

    vector: Tensor
    at: Literal["value", "post_attention"] = "value"


@dataclass(frozen=True)
class Prefix:
    """Key and value tokens, each (B, P, D), that every token of the image may attend to.

    apart  their attended values are those of an attention to them alone, which is added to what the
           image's own values give (LAE's compensation: the prefix's weights are divided by their
           sum)
    """

    keys: Tensor
    values: Tensor
    apart: bool = False


@dataclass(frozen=True)
class LowRank:
    """W + B A in place of the projections W of keys and of values, for every image alike.

    down (2, r, D) and up (2, D, r): A and B of the keys, then those of the values.
    """

    down: Tensor
    up: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the keys and to the values of tokens x (B, N, D), each (B, N, D)."""
        keys, values = (
            F.linear(F.linear(x, a), b) for a, b in zip(self.down, self.up, strict=True)
        )
        return keys, values


@dataclass(frozen=True)
class Tokens:
    """Tokens (B, P, D) that go through one block with the image's, and are cut off after it."""

    tokens: Tensor


@dataclass(frozen=True)
class BesideMLP:
    """A module of tokens (B, N, D) -> (B, N, D), beside the MLP: both read what attention left."""

    module: nn.Module


@dataclass(frozen=True)
class BesideAttention:
    """A module of tokens (B, N, D) -> (B, N, D), beside the attention: both read the same."""

    module: nn.Module


Injection = Residual | Prefix | LowRank | Tokens | BesideMLP | BesideAttention | None


class PromptedViT(nn.Module):
    """A frozen timm ViT whose blocks take an :data:`Injection` each.

    Without injections its features equal timm's own ``forward_features``. Raises
    :class:`UserError` for a transformer whose blocks are not the plain pre-norm ones that the
    method is defined on.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        _require_plain_blocks(vit)
        self.vit = vit.requires_grad_(False)
        #: where the transformer was loaded to run compiled
        self.first_size: FirstSize | None = getattr(vit, "first_size", None)
        self._block = compiled(_block) if self.first_size else _block

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.vit.blocks)

    @property
    def dim(self) -> int:
        """Width of the features, D."""
        return self.vit.embed_dim

    @property
    def precision(self) -> str:
        """Of the products, as the transformer was loaded (``starprompt.precision``)."""
        return getattr(self.vit, "precision", "float32")

    def activations(self, residual: bool = False, prefix_length: int = 0) -> Activations:
        """What an image takes in it, with residuals from the first block on, or with prefixes;
        by default with any other prompts."""
        return vit_activations(
            self.vit,
            self.precision,
            prompted_before_attention=not residual,
            prefix_length=prefix_length,
        )

    def forward(self, images: Tensor, injections: Sequence[Injection] | None = None) -> Tensor:
        """Final-norm [CLS] feature of normalised images.

        images      (B, 3, H, W), normalised for this ViT
        injections  one entry a block, or None for the plain transformer
        returns     (B, D)
        """
        return self.tokens(images, injections)[:, 0]

    def tokens(
        self,
        images: Tensor,
        injections: Sequence[Injection] | None = None,
        prepended: Tensor | None = None,
    ) -> Tensor:
        """All tokens after the final norm, float32: (B, 1 + N, D), or (B, P + 1 + N, D) where
        ``prepended`` (B, P, D) stands before [CLS] from the first block on (L2P)."""
        if injections is not None and len(injections) != self.depth:
            raise ValueError(f"{len(injections)} injections for {self.depth} blocks")
        of_size = self.first_size(len(images)) if self.first_size else nullcontext()
        with in_tower(self.precision, images.device), of_size:
            x = self.vit.patch_embed(images)
            x = self.vit.norm_pre(self.vit.patch_drop(self.vit._pos_embed(x)))
            if prepended is not None:
                x = torch.cat([prepended, x], dim=1)
            for layer, block in enumerate(self.vit.blocks):
                x = self._block(block, x, injections[layer] if injections is not None else None)
            return self.vit.norm(x)

    @torch.no_grad()
    def attention_inputs(
        self, images: Tensor, injections: Sequence[Injection] | None = None
    ) -> Iterator[Tensor]:
        """What each block's attention reads, layer by layer: (B, N, D) after its first norm."""
        x = self.vit.patch_embed(images)
        x = self.vit.norm_pre(self.vit.patch_drop(self.vit._pos_embed(x)))
        blocks: Any = self.vit.blocks
        for layer, block in enumerate(blocks):
            yield block.norm1(x)
            x = _block(block, x, None if injections is None else injections[layer])

    @torch.no_grad()
    def injected_norms(
        self, images: Tensor, injections: Sequence[Injection]
    ) -> tuple[Tensor, Tensor]:
        """How much the injections change the attention's output, layer by layer.

        Returns (L,) mean norm over images and tokens of the change, and (L,) that of the output
        without the layer's own injection, its input being the prompted one.
        """
        changes, outputs = [], []
        x = self.vit.patch_embed(images)
        x = self.vit.norm_pre(self.vit.patch_drop(self.vit._pos_embed(x)))
        blocks: Any = self.vit.blocks
        for block, injection in zip(blocks, injections, strict=True):
            without, prompted = _attended(block, x, None), _attended(block, x, injection)
            changes.append((prompted - without).norm(dim=-1).mean())
            outputs.append(without.norm(dim=-1).mean())
            x = _block(block, x, injection)
        return torch.stack(changes), torch.stack(outputs)


def _block(block: Any, x: Tensor, injection: Injection) -> Tensor:
    """timm's pre-norm ``Block`` with an injection."""
    if isinstance(injection, Tokens):
        joined = torch.cat([x, injection.tokens.to(x.dtype)], dim=1)
        return _block(block, joined, None)[:, : x.shape[1]]
    x = x + _attended(block, x, injection)
    of_mlp = block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    if isinstance(injection, BesideMLP):
        of_mlp = of_mlp + injection.module(x)
    return x + of_mlp


def _attended(block: Any, x: Tensor, injection: Injection) -> Tensor:
    """(B, N, D): what the attention branch, with its injection, adds to ``x``."""
    read = block.norm1(x)
    attended = block.drop_path1(block.ls1(_attention(block.attn, read, injection)))
    if isinstance(injection, BesideAttention):
        return attended + injection.module(read)
    if isinstance(injection, Residual) and injection.at == "post_attention":
        attended = attended + injection.vector[:, None, :]
    return attended


def _attention(attn: Any, x: Tensor, injection: Injection) -> Tensor:
    batch, tokens, _ = x.shape
    qkv = attn.qkv(x).reshape(batch, tokens, 3, attn.num_heads, attn.head_dim)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if isinstance(injection, LowRank):
        keys, values = injection(x)
        k, v = k + _heads(keys, attn.num_heads), v + _heads(values, attn.num_heads)
    q, k = attn.q_norm(q), attn.k_norm(k)
    dropout = attn.attn_drop.p if attn.training else 0.0
    beside = None
    if isinstance(injection, Prefix):
        keys = _heads(injection.keys, attn.num_heads).to(k.dtype)
        values = _heads(injection.values, attn.num_heads).to(v.dtype)
        if injection.apart:
            beside = F.scaled_dot_product_attention(q, keys, values, dropout_p=dropout)
            values = torch.zeros_like(values)
        k, v = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
    x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    if beside is not None:
        x = x + beside
    x = x.transpose(1, 2).reshape(batch, tokens, -1)
    if isinstance(injection, Residual) and injection.at == "value":
        x = x + injection.vector[:, None, :].to(x.dtype)
    return attn.proj_drop(attn.proj(x))


def _heads(tokens: Tensor, n_heads: int) -> Tensor:
    """(B, P, D) -> (B, heads, P, D / heads)."""
    batch, length, dim = tokens.shape
    return tokens.reshape(batch, length, n_heads, dim // n_heads).transpose(1, 2)


def _require_plain_blocks(vit: nn.Module) -> None:
    plain = (
        isinstance(vit, VisionTransformer)
        and vit.cls_token is not None
        and all(
            type(block) is Block
            and type(block.attn) is Attention
            and getattr(block.attn, "gate", None) is None
            and isinstance(getattr(block.attn, "norm", nn.Identity()), nn.Identity)
            for block in vit.blocks
        )
    )
    if not plain:
        raise UserError(
            f"{type(vit).__name__} can't be prompted: STAR-Prompt needs a timm VisionTransformer "
            "with a [CLS] token and plain pre-norm blocks, such as vit_base_patch16_224."
        )
