"""A block computes its first tokens alone as it computes them among all."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.adapters import Adapter, ScaleShift
from starprompt.backbones.blocks import (
    BesideAttention,
    BesideMLP,
    Injection,
    LowRank,
    Prefix,
    Residual,
    Tokens,
    block_output,
)
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import load_vit

IMAGES, WIDTH = 5, 96


def prompt(*shape: int) -> Tensor:
    return torch.randn(IMAGES, *shape, WIDTH, requires_grad=True)


def adapter() -> Adapter:
    made = Adapter(WIDTH, 16)
    nn.init.normal_(made.up.weight)
    return made.train()


FORMS: dict[str, Callable[[], Injection]] = {
    "none": lambda: None,
    "value": lambda: Residual(prompt()),
    "post_attention": lambda: Residual(prompt(), "post_attention"),
    "prefix": lambda: Prefix(prompt(3), prompt(3)),
    "prefix apart": lambda: Prefix(prompt(3), prompt(3), apart=True),
    "low rank": lambda: LowRank(
        torch.randn(2, 4, WIDTH, requires_grad=True), torch.randn(2, WIDTH, 4, requires_grad=True)
    ),
    "tokens": lambda: Tokens(prompt(3)),
    "beside the MLP": lambda: BesideMLP(adapter()),
    "beside the MLP, evaluated": lambda: BesideMLP(adapter().eval()),
    "beside the attention": lambda: BesideAttention(adapter()),
}


def learned(injection: Any) -> list[Tensor]:
    if injection is None:
        return []
    if isinstance(injection, BesideMLP | BesideAttention):
        return list(injection.module.parameters())
    return [part for part in vars(injection).values() if isinstance(part, Tensor)]


@pytest.mark.parametrize("leading", [1, 4])
@pytest.mark.parametrize("form", FORMS)
def test_the_first_tokens_alone_are_those_among_all(form: str, leading: int) -> None:
    torch.manual_seed(0)
    block = load_vit("tiny").blocks[-1]
    injection = FORMS[form]()
    x = torch.randn(IMAGES, 17, WIDTH, requires_grad=True)
    towards = torch.randn(IMAGES, leading, WIDTH)
    wanted = [x, *learned(injection), *block.parameters()]

    def results(few: int | None) -> list[Tensor]:
        torch.manual_seed(1)  # of dropout
        output = block_output(block, x, injection, few)[:, :leading]
        drawn = torch.rand(())
        return [output, drawn, *torch.autograd.grad((output * towards).sum(), wanted)]

    for few, among_all in zip(results(leading), results(None), strict=True):
        largest = float(among_all.abs().max())
        torch.testing.assert_close(few, among_all, rtol=1e-4, atol=1e-4 * max(largest, 1.0))


@pytest.mark.parametrize("name", ["tiny", "vit_small_patch14_reg4_dinov2/random"])
def test_a_towers_features_are_timms(name: str) -> None:
    torch.manual_seed(0)
    tower = load_vit(name)
    images = torch.randn(2, 3, *tower.patch_embed.img_size)
    with torch.no_grad():
        of_timm = VisionTransformer.forward(tower, images)
        torch.testing.assert_close(tower(images), of_timm, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(PromptedViT(tower)(images), of_timm, rtol=1e-3, atol=1e-4)


def test_a_hook_on_a_layer_sees_all_of_its_output() -> None:
    torch.manual_seed(0)
    vit = load_vit("tiny")
    images = torch.randn(2, 3, 64, 64)
    ScaleShift(vit)
    with torch.no_grad():
        of_timm = VisionTransformer.forward(vit, images)
        torch.testing.assert_close(PromptedViT(vit)(images), of_timm, rtol=1e-3, atol=1e-4)
