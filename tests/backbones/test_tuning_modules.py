"""Adapters, LoRA and prefixes in the blocks of a frozen ViT."""

from typing import Any

import pytest
import torch
from torch import Tensor

from starprompt.backbones.prompted_vit import Prefix, PromptedViT
from starprompt.backbones.tuning_modules import Kind, tuned, tuning_modules
from starprompt.backbones.vit import load_vit

KINDS: list[Kind] = ["adapter", "lora", "prefix"]


@pytest.fixture
def net() -> PromptedViT:
    return PromptedViT(load_vit("tiny"))


@pytest.mark.parametrize("kind", KINDS)
def test_all_parameters_learn_and_the_vit_does_not(kind: Kind, net: PromptedViT) -> None:
    torch.manual_seed(0)
    modules = tuning_modules(kind, 2, net.dim, 3)
    with torch.no_grad():
        for parameter in modules.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.rand(4, 3, 64, 64)
    net(images, tuned(net.depth, (0, 2), modules, 4)).square().sum().backward()
    for name, parameter in modules.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("kind", ["adapter", "lora"])
def test_new_modules_change_nothing(kind: Kind, net: PromptedViT) -> None:
    images = torch.rand(2, 3, 64, 64)
    modules = tuning_modules(kind, 4, net.dim, 3)
    tuned_features = net(images, tuned(net.depth, range(4), modules, 2))
    torch.testing.assert_close(tuned_features, net(images))


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
