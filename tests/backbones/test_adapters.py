"""Adapters, scales and prompt tokens in a frozen ViT."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from starprompt.backbones.adapters import (
    AdaptedViT,
    Adapter,
    likeness,
    merge_adapters,
    new_adapters,
)

KINDS: list[Any] = ["adapter", "ssf", "vpt-deep", "vpt-shallow"]
IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def small_vit() -> VisionTransformer:
    torch.manual_seed(3)
    return VisionTransformer(
        img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0
    ).eval()


def adapted(kind: Any) -> AdaptedViT:
    net = AdaptedViT(small_vit(), kind, lambda x: x, bottleneck=4, prompts=3).eval()
    with torch.no_grad():
        for name, parameter in net.trained().items():
            parameter += 0.1 * torch.randn_like(parameter)
            if name.endswith("down.bias"):
                parameter += 1.0  # so that under no draw all units of a ReLU are off
    return net


def test_without_adaptation_it_is_timms_own() -> None:
    net = adapted("none")
    assert net.trained() == {}
    torch.testing.assert_close(net(IMAGES), small_vit()(IMAGES))


def test_new_adapters_and_no_others_change_nothing() -> None:
    torch.testing.assert_close(
        AdaptedViT(small_vit(), "adapter", lambda x: x)(IMAGES), small_vit()(IMAGES)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_adapts_is_trained(kind: Any) -> None:
    net = adapted(kind)
    net.train()
    assert not net.vit.training
    net(IMAGES).square().sum().backward()
    trained = net.trained()
    assert {n for n, p in net.named_parameters() if p.grad is not None} == set(trained)
    assert all(bool(p.grad.abs().sum() > 0) for p in trained.values() if p.grad is not None)
    net.eval()
    assert not torch.allclose(net(IMAGES), net.frozen(IMAGES))
    torch.testing.assert_close(net.frozen(IMAGES), small_vit()(IMAGES))
    assert not torch.allclose(net(IMAGES), net.frozen(IMAGES))  # it is adapted again


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_the_papers(kind: Any) -> None:
    """Of width D and depth L: 2Db + b + D a block; 22 D a block and 4 D; L P D; P D."""
    expected = {
        "adapter": 2 * (2 * 16 * 4 + 4 + 16),
        "ssf": (22 * 2 + 4) * 16,
        "vpt-deep": 2 * 3 * 16,
        "vpt-shallow": 3 * 16,
    }
    assert sum(p.numel() for p in adapted(kind).trained().values()) == expected[kind]


def test_scales_and_shifts_can_be_merged_into_the_layers() -> None:
    """SSF's own claim: y = (W x + b) s + t is the layer (s W, s b + t)."""
    net = adapted("ssf")
    assert net.scale_shift is not None
    vit = small_vit()
    layers: list[Any] = [None]
    for block in vit.blocks:
        attn, mlp = block.attn, block.mlp
        layers += [block.norm1, attn.qkv, attn.proj, block.norm2, mlp.fc1, mlp.fc2]
    layers.append(vit.norm)
    with torch.no_grad():
        for layer, scale, shift in zip(
            layers, net.scale_shift.scales, net.scale_shift.shifts, strict=True
        ):
            if layer is None:
                conv = vit.patch_embed.proj
                conv.weight *= scale[:, None, None, None]
                conv.bias.mul_(scale).add_(shift)
            else:
                layer.weight *= scale[:, None] if isinstance(layer, nn.Linear) else scale
                layer.bias.mul_(scale).add_(shift)
    torch.testing.assert_close(net(IMAGES), vit(IMAGES), rtol=1e-4, atol=1e-5)


def test_the_order_of_prompt_tokens_does_not_matter() -> None:
    net = adapted("vpt-deep")
    before = net(IMAGES)
    assert net.prompts is not None
    net.prompts.data = net.prompts.data.flip(1)
    torch.testing.assert_close(net(IMAGES), before, rtol=1e-4, atol=1e-5)


def test_an_adapters_dropout_is_for_training_alone() -> None:
    adapter = Adapter(8, 64)
    nn.init.normal_(adapter.up.weight)
    x = torch.randn(2, 5, 8)
    assert not torch.equal(adapter(x), adapter(x))
    adapter.eval()
    assert torch.equal(adapter(x), adapter(x))


def test_merging_takes_the_strongest_of_the_signs_that_prevail() -> None:
    sets = [nn.Linear(1, 4, bias=False) for _ in range(3)]
    with torch.no_grad():
        for one, values in zip(sets, [[1, -5, 2, 0], [3, 4, -9, 0], [2, 3, 1, 0]], strict=True):
            one.weight.copy_(torch.tensor(values)[:, None])
    merged = nn.Linear(1, 4, bias=False)
    merge_adapters(merged, sets)
    # the means' signs are +, +, -, none
    assert merged.weight.flatten().tolist() == [3, 4, -9, 0]


def test_alike_are_adapters_whose_rows_point_the_same_way() -> None:
    torch.manual_seed(0)
    ours, theirs = (new_adapters(small_vit(), 4) for _ in range(2))
    assert float(likeness(ours, theirs).detach()) == 0  # both are zero
    for adapters in (ours, theirs):
        for adapter in adapters:
            nn.init.normal_(adapter.up.weight)  # type: ignore[union-attr, arg-type]
    expected = torch.stack(
        [
            (F.normalize(a.up.weight, dim=1) @ F.normalize(b.up.weight, dim=1).T).mean().abs()  # type: ignore[union-attr, arg-type]
            for a, b in zip(ours, theirs, strict=True)
        ]
    ).mean()
    torch.testing.assert_close(likeness(ours, theirs), expected)
