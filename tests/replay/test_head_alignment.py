"""Alignment of heads: losses by their formulas, rates by schedule, unseen classes unmoved."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from starprompt.replay.head_alignment import (
    align_by_epochs,
    align_cosine_head,
    align_head,
    align_step,
)
from starprompt.replay.statistics import ClassGaussians


def _head(classes: int = 3, dim: int = 4) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(dim, classes)


def _batch(seen: int = 2, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(n) % seen
    features = torch.randn(n, 4, generator=generator) + 3 * F.one_hot(labels, 4)
    return features, labels


def test_a_step_minimises_the_entropy_of_logits_over_a_tenth_of_their_norm() -> None:
    head, (features, labels) = _head(), _batch()
    other = _head()
    logits = (features @ other.weight.T + other.bias)[:, :2]
    scaled = logits / (0.1 * logits.square().sum(1, keepdim=True).sqrt())
    expected = -scaled.log_softmax(1)[torch.arange(16), labels].mean()
    expected.backward()
    loss = align_step(head, torch.optim.SGD(head.parameters(), lr=0.1), features, labels, 2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert other.weight.grad is not None
    torch.testing.assert_close(head.weight, other.weight - 0.1 * other.weight.grad)
    assert torch.equal(head.weight[2], other.weight[2]), "a class not yet seen stays"


def test_the_loss_does_not_depend_on_the_logits_length() -> None:
    features, labels = _batch()
    losses = []
    for factor in (1.0, 100.0):
        head = _head()
        with torch.no_grad():
            head.weight.mul_(factor)
            head.bias.mul_(factor)
        optimiser = torch.optim.SGD(head.parameters(), lr=0.0)
        losses.append(align_step(head, optimiser, features, labels, 2).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_losses_of_all_steps_are_returned_and_fall() -> None:
    head = _head()
    losses = align_head(head, [_batch()] * 20, lr=0.05, seen=2)
    assert losses.shape == (20,)
    assert losses[-1] < losses[0]
    assert align_head(head, [], lr=0.05, seen=2).shape == (0,)


def test_a_cosine_head_ends_nearer_to_the_classes_means_and_its_start_is_left_alone() -> None:
    torch.manual_seed(0)
    means = 4 * torch.eye(3, 5)
    gaussians = ClassGaussians(means, 0.01 * torch.eye(5).expand(3, -1, -1))
    start = torch.randn(3, 5)
    before = start.clone()
    options = {"samples": 8, "scale": 20.0, "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0}
    aligned = align_cosine_head(start, gaussians, epochs=4, **options)
    assert torch.equal(start, before)
    margin_of = []
    for head in (start, aligned):
        cosines = F.normalize(means, dim=1) @ F.normalize(head, dim=1).T
        margin_of.append(F.cross_entropy(20 * cosines, torch.arange(3)).item())
    assert margin_of[1] < margin_of[0]
    assert torch.equal(align_cosine_head(start, gaussians, epochs=0, **options), before)


def rates_of_sgd(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list that takes the learning rate of every step of SGD from here on."""
    rates: list[float] = []
    real = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *args: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return real(self)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    return rates


def test_rates_of_a_cosine_heads_alignment_fall_for_five_epochs_and_rise_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = rates_of_sgd(monkeypatch)
    gaussians = ClassGaussians(torch.eye(2), torch.zeros(2, 2, 2))
    align_cosine_head(
        torch.eye(2), gaussians, samples=4, epochs=7, scale=1.0, lr=1.0, momentum=0, weight_decay=0
    )
    by_epoch = rates[::2]
    assert len(rates) == 14, "as many steps an epoch as classes"
    assert by_epoch[:6] == pytest.approx([(1 + math.cos(math.pi * e / 5)) / 2 for e in range(6)])
    assert by_epoch[5] == pytest.approx(0, abs=1e-12)
    assert by_epoch[6] == pytest.approx(by_epoch[4])


def test_epochs_anneal_along_half_a_cosine_with_plain_cross_entropy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = rates_of_sgd(monkeypatch)
    head, other, batch = _head(), _head(), _batch()
    F.cross_entropy(other(batch[0])[:, :2], batch[1]).backward()
    align_by_epochs(head, lambda: [batch], epochs=4, lr=0.1, seen=2)
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(4)])
    assert torch.equal(head.weight[2], other.weight[2])
    single = _head()
    align_by_epochs(single, lambda: [batch], epochs=1, lr=0.1, seen=2)
    assert other.weight.grad is not None
    torch.testing.assert_close(single.weight, other.weight - 0.1 * other.weight.grad)
