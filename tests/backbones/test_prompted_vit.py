"""Prompts in a ViT's blocks: each form adds what its formula says."""

from typing import Any

import pytest
import torch
from torch import Tensor

from starprompt.backbones.blocks import (
    BesideAttention,
    BesideMLP,
    Injection,
    Prefix,
    Residual,
    Tokens,
)
from starprompt.backbones.lora import low_rank_at
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import load_vit
from tests.helpers.small_backbones import low_rank_update


@pytest.fixture
def net() -> PromptedViT:
    return PromptedViT(load_vit("tiny"))


def attended(attn: Any, x: Tensor, prefix: Prefix) -> Tensor:
    """The released computation: the prefix's attention weights, divided by their sum."""
    batch, tokens, dim = x.shape
    heads = attn.num_heads

    def split(rows: Tensor) -> Tensor:
        return rows.view(batch, -1, heads, dim // heads).transpose(1, 2)

    q, k, v = (split(part) for part in attn.qkv(x).chunk(3, dim=-1))
    keys, values = (split(part) for part in (prefix.keys, prefix.values))
    k, v = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
    weights = (q @ k.transpose(-2, -1) * (dim // heads) ** -0.5).softmax(dim=-1)
    length = keys.shape[2]
    own, rest = weights[..., :length], weights[..., length:]
    weights = torch.cat([own / own.sum(dim=-1, keepdim=True), rest], dim=-1)
    return attn.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, dim))


def test_a_prefix_apart_is_attended_to_with_weights_that_sum_to_one(net: PromptedViT) -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 3, 64, 64)
    keys, values = torch.randn(2, 3, 5, net.dim)
    prefix = Prefix(keys, values, apart=True)
    injections = [prefix, None, None, None]
    second = list(net.attention_inputs(images, injections))[1]
    block: Any = net.vit.blocks[0]
    x = net.vit._pos_embed(net.vit.patch_embed(images))
    x = x + attended(block.attn, block.norm1(x), prefix)
    x = x + block.mlp(block.norm2(x))
    torch.testing.assert_close(second, net.vit.blocks[1].norm1(x), rtol=1e-4, atol=1e-5)


LAYERS = (0, 2)


def test_attention_inputs_are_what_the_projections_read(net: PromptedViT) -> None:
    seen: list[Tensor] = []
    for block in net.vit.blocks:
        block.attn.qkv.register_forward_hook(lambda _module, given, _out: seen.append(given[0]))
    images = torch.rand(2, 3, 64, 64)
    injections = low_rank_at(net.depth, LAYERS, *low_rank_update())
    net(images, injections)
    read, seen[:] = list(seen), []
    inputs = list(net.attention_inputs(images, injections))
    assert len(inputs) == net.depth == len(read)
    for ours, theirs in zip(inputs, read, strict=True):
        torch.testing.assert_close(ours, theirs)


IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def only_at(net: PromptedViT, layer: int, injection: Injection) -> list[Injection]:
    return [injection if index == layer else None for index in range(net.depth)]


def test_without_injections_it_is_timms_own(net: PromptedViT) -> None:
    torch.testing.assert_close(net.tokens(IMAGES), net.vit.forward_features(IMAGES))
    torch.testing.assert_close(net(IMAGES), net.vit.forward_features(IMAGES)[:, 0])
    torch.testing.assert_close(net(IMAGES, [None] * net.depth), net(IMAGES))


def test_a_value_residual_is_that_of_the_projected_vector_after_attention(
    net: PromptedViT,
) -> None:
    """Attention rows sum to 1: W_o (v + r) = W_o v + W_o r; the bias is in the output already."""
    vector = torch.randn(3, net.dim, generator=torch.Generator().manual_seed(2))
    for layer in (0, net.depth - 1):
        projection = net.vit.blocks[layer].attn.proj.weight
        value = net(IMAGES, only_at(net, layer, Residual(vector)))
        after = net(IMAGES, only_at(net, layer, Residual(vector @ projection.T, "post_attention")))
        torch.testing.assert_close(value, after, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(value, net(IMAGES), atol=1e-2)


def test_a_value_residual_equals_one_in_every_tokens_value_vector(net: PromptedViT) -> None:
    vector = torch.randn(1, net.dim, generator=torch.Generator().manual_seed(3))
    prompted = net(IMAGES, only_at(net, 2, Residual(vector.expand(3, -1))))
    with torch.no_grad():
        net.vit.blocks[2].attn.qkv.bias[2 * net.dim :] += vector[0]
    torch.testing.assert_close(prompted, net(IMAGES), rtol=1e-4, atol=1e-4)


def test_a_prefix_is_read_by_each_image_for_itself_and_its_order_does_not_matter(
    net: PromptedViT,
) -> None:
    keys, values = torch.randn(2, 3, 4, net.dim, generator=torch.Generator().manual_seed(4))
    whole = net(IMAGES, only_at(net, 1, Prefix(keys, values)))
    alone = net(IMAGES[1:2], only_at(net, 1, Prefix(keys[1:2], values[1:2])))
    torch.testing.assert_close(whole[1:2], alone)
    turned = net(IMAGES, only_at(net, 1, Prefix(keys.flip(1), values.flip(1))))
    torch.testing.assert_close(whole, turned)
    swapped = net(IMAGES, only_at(net, 1, Prefix(keys, values.flip(1))))
    assert not torch.allclose(whole, swapped, atol=1e-3)


def test_tokens_are_cut_off_after_their_block(net: PromptedViT) -> None:
    prompts = torch.randn(3, 4, net.dim, generator=torch.Generator().manual_seed(5))
    plain = net.tokens(IMAGES)
    found = net.tokens(IMAGES, only_at(net, 1, Tokens(prompts)))
    assert found.shape == plain.shape
    assert not torch.allclose(found, plain, atol=1e-3)
    deepest = net.tokens(IMAGES, None, prepended=prompts)
    assert deepest.shape[1] == plain.shape[1] + 4


@pytest.mark.parametrize("kind", [BesideMLP, BesideAttention])
def test_a_module_beside_reads_what_its_neighbour_reads(net: PromptedViT, kind: Any) -> None:
    """One that adds a vector shows its place: all that follows reads the sum with it."""
    block = net.vit.blocks[0]
    added = torch.linspace(-1, 1, net.dim)
    seen: list[Tensor] = []

    class Watch(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return added.expand_as(x)

    x = net.vit._pos_embed(net.vit.patch_embed(IMAGES))
    between = x + block.attn(block.norm1(x))
    moved = net.tokens(IMAGES, only_at(net, 0, kind(Watch())))
    torch.testing.assert_close(seen[0], between if kind is BesideMLP else block.norm1(x))
    if kind is BesideMLP:
        y = between + block.mlp(block.norm2(between)) + added
    else:
        y = between + added
        y = y + block.mlp(block.norm2(y))
    for other in net.vit.blocks[1:]:
        y = other(y)
    torch.testing.assert_close(moved, net.vit.norm(y), rtol=1e-4, atol=1e-4)


def test_as_many_injections_as_blocks_are_needed(net: PromptedViT) -> None:
    with pytest.raises(ValueError, match="3 injections for 4 blocks"):
        net(IMAGES, [None] * 3)
