"""One block of a timm Vision Transformer, with a prompt injected in the middle of its attention.

The arithmetic and the weights are timm's. Seven forms of injection:

* ``Residual(at="value")``: the vector is added to the value vectors of every token (the released
  code). Attention rows sum to 1, so this is the same as adding it to the attended values, before
  the output projection; that is what is computed, and attention itself is left to PyTorch.
* ``Residual(at="post_attention")``: x <- x + MSA(LN(x)) + residual (the paper's Eq. 6).
* ``Prefix``: key and value tokens are prepended to the attention's own (prefix tuning).
* ``LowRank``: low-rank matrices are added to the key and value projections (LoRA).
* ``Tokens``: whole tokens stand behind the image's in one block alone (VPT-Deep).
* ``BesideMLP``: a module's output is added to that of the MLP (AdaptFormer's adapters).
* ``BesideAttention``: a module's output is added to that of the attention (parallel adapters).

After the last block only the class token is read. Its queries, its projection and its MLP are all
that this block needs beside the keys and values of all tokens: ``leading`` says so.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def embedded(vit: Any, images: Tensor) -> Tensor:
    """Tokens (B, N, D) that the first block of a timm ViT reads, of normalised images."""
    return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))


def block_output(
    block: Any, x: Tensor, injection: Injection = None, leading: int | None = None
) -> Tensor:
    """Tokens (B, N, D) after timm's pre-norm ``Block`` with an injection.

    leading  compute the first so many tokens alone, (B, leading, D), from the keys and values of
             all
    """
    if isinstance(injection, Tokens):
        joined = torch.cat([x, injection.tokens.to(x.dtype)], dim=1)
        return block_output(block, joined, None, leading)[:, : x.shape[1]]
    tokens, x = x.shape[1], x[:, :leading] + attended(block, x, injection, leading)
    of_mlp = block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    if isinstance(injection, BesideMLP):
        of_mlp = of_mlp + _beside(injection.module, x, tokens)
    return x + of_mlp


def _beside(module: nn.Module, x: Tensor, tokens: int) -> Tensor:
    """What a module makes of the first tokens x (B, leading, D) of so many.

    In training it may draw numbers for each token. It gets zeros in place of the others, so that
    it draws as it does for all, and seeds give what they gave.
    """
    few = x.shape[1]
    if few == tokens or not module.training:
        return module(x)
    return module(F.pad(x, (0, 0, 0, tokens - few)))[:, :few]


def attended(block: Any, x: Tensor, injection: Injection, leading: int | None = None) -> Tensor:
    """(B, N, D): what the attention branch, with its injection, adds to ``x``; or (B, leading, D),
    to its first tokens."""
    read = block.norm1(x)
    added = block.drop_path1(block.ls1(_attention(block.attn, read, injection, leading)))
    if isinstance(injection, BesideAttention):
        return added + _beside(injection.module, read[:, :leading], x.shape[1])
    if isinstance(injection, Residual) and injection.at == "post_attention":
        added = added + injection.vector[:, None, :]
    return added


def _attention(attn: Any, x: Tensor, injection: Injection, leading: int | None) -> Tensor:
    q, k, v = _queries_keys_values(attn, x, leading)
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
    x = x.transpose(1, 2).flatten(2)
    if isinstance(injection, Residual) and injection.at == "value":
        x = x + injection.vector[:, None, :].to(x.dtype)
    return attn.proj_drop(attn.proj(x))


def _queries_keys_values(
    attn: Any, x: Tensor, leading: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, heads, N or leading, D / heads), keys and values (B, heads, N, D / heads)."""
    batch, tokens, width = x.shape
    # A hook, as SSF's, expects the whole layer's output.
    if leading is None or attn.qkv._forward_hooks:
        qkv = attn.qkv(x).reshape(batch, tokens, 3, attn.num_heads, attn.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q[:, :, :leading], k, v
    weight, bias = attn.qkv.weight, attn.qkv.bias
    of_queries, of_others = (None, None) if bias is None else (bias[:width], bias[width:])
    q = _heads(F.linear(x[:, :leading], weight[:width], of_queries), attn.num_heads)
    kv = F.linear(x, weight[width:], of_others)
    k, v = kv.reshape(batch, tokens, 2, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


def _heads(tokens: Tensor, n_heads: int) -> Tensor:
    """(B, P, D) -> (B, heads, P, D / heads)."""
    batch, length, dim = tokens.shape
    return tokens.reshape(batch, length, n_heads, dim // n_heads).transpose(1, 2)
