"""Adapters, LoRA and prefixes of a frozen ViT: what learns, and how it starts."""

import pytest
import torch

from starprompt.backbones.prompted_vit import PromptedViT
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
