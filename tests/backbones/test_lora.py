"""LoRA on the attention: its injection, its merging and what the attention reads."""

import pytest
import torch
from torch import Tensor

from starprompt.backbones.lora import low_rank_at, merge_low_rank
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import load_vit

LAYERS = (0, 2)


def update(rank: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 2, rank, 96), 0.1 * torch.randn(2, 2, 96, rank)


@pytest.fixture
def net() -> PromptedViT:
    return PromptedViT(load_vit("tiny"))


def test_low_rank_updates_are_added_to_keys_and_values_alone(net: PromptedViT) -> None:
    down, up = update()
    images = torch.rand(4, 3, 64, 64)
    plain = net(images)
    injected = net(images, low_rank_at(net.depth, LAYERS, down, up))
    before = [block.attn.qkv.weight.clone() for block in net.vit.blocks]
    merge_low_rank(net, LAYERS, down, up)
    torch.testing.assert_close(net(images), injected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(injected, plain, atol=1e-2)
    for layer, (block, old) in enumerate(zip(net.vit.blocks, before, strict=True)):
        change = block.attn.qkv.weight - old
        assert not change[:96].any(), "queries"
        assert bool(change[96:192].any()) == bool(change[192:].any()) == (layer in LAYERS)
        if layer in LAYERS:
            place = LAYERS.index(layer)
            torch.testing.assert_close(change[192:], up[place, 1] @ down[place, 1])


def test_an_update_of_zeros_changes_nothing(net: PromptedViT) -> None:
    down, up = update()
    images = torch.rand(2, 3, 64, 64)
    injections = low_rank_at(net.depth, LAYERS, down, torch.zeros_like(up))
    assert torch.equal(net(images, injections), net(images))


def test_attention_inputs_are_what_the_projections_read(net: PromptedViT) -> None:
    seen: list[Tensor] = []
    for block in net.vit.blocks:
        block.attn.qkv.register_forward_hook(lambda _module, given, _out: seen.append(given[0]))
    images = torch.rand(2, 3, 64, 64)
    injections = low_rank_at(net.depth, LAYERS, *update())
    net(images, injections)
    read, seen[:] = list(seen), []
    inputs = list(net.attention_inputs(images, injections))
    assert len(inputs) == net.depth == len(read)
    for ours, theirs in zip(inputs, read, strict=True):
        torch.testing.assert_close(ours, theirs)
