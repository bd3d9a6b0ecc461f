"""A linear head starts as PyTorch's or as timm's."""

import pytest
import torch
from torch import nn

from starprompt.backbones.classifier import fresh_head
from starprompt.continual.seeding import seed_everything


def test_a_head_starts_as_pytorchs_by_default() -> None:
    seed_everything(1)
    plain = nn.Linear(48, 10)
    seed_everything(1)
    head = fresh_head(48, 10)
    assert torch.equal(head.weight, plain.weight) and torch.equal(head.bias, plain.bias)


def test_the_released_start_is_narrow_and_without_bias() -> None:
    seed_everything(1)
    head = fresh_head(768, 200, "truncated_normal").requires_grad_(False)
    assert not bool(head.bias.any())
    assert float(head.weight.std()) == pytest.approx(0.02, rel=0.01)
    assert abs(float(head.weight.mean())) < 2e-4
    excess = (head.weight / head.weight.std()).pow(4).mean()
    assert float(excess) == pytest.approx(3, rel=0.05), "a normal distribution, not a uniform one"
