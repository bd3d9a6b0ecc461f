"""LoRA on the attention: its injection and its merging."""

import pytest
import torch

from starprompt.backbones.lora import low_rank_at, merge_low_rank
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import load_vit
from tests.helpers.small_backbones import low_rank_update

LAYERS = (0, 2)


@pytest.fixture
def net() -> PromptedViT:
    return PromptedViT(load_vit("tiny"))


def test_low_rank_updates_are_added_to_keys_and_values_alone(net: PromptedViT) -> None:
    down, up = low_rank_update()
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
    down, up = low_rank_update()
    images = torch.rand(2, 3, 64, 64)
    injections = low_rank_at(net.depth, LAYERS, down, torch.zeros_like(up))
    assert torch.equal(net(images, injections), net(images))
