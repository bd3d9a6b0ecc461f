"""One task's training of few parameters: its loss, its rates, its cosine head."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from starprompt.continual.first_session import CosineHead, Session


def session(classes: range, parameters: list[nn.Parameter], **hp: Any) -> Session:
    options = {"lr": 0.1, "epochs": 4, "weight_decay": 0.0, **hp}
    return Session(parameters, 8, classes, device=torch.device("cpu"), **options)


def test_a_session_lowers_its_loss_and_anneals_its_rate() -> None:
    scale = nn.Parameter(torch.ones(8))
    features, labels = torch.randn(12, 8), torch.arange(12) % 3 + 4
    ours = session(range(4, 7), [scale])
    losses, rates = [], []
    for epoch in range(4):
        ours.begin_epoch(epoch)
        losses += [float(ours.step(features * scale, labels).detach()) for _ in range(10)]
        rates.append(ours.optimiser.param_groups[0]["lr"])
    assert losses[-1] < losses[0]
    torch_rates = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([scale], 0.1), T_max=4)
    for epoch in range(4):
        assert rates[epoch] == pytest.approx(torch_rates.get_last_lr()[0])
        torch_rates.optimizer.step()
        torch_rates.step()


def test_one_class_teaches_nothing() -> None:
    scale = nn.Parameter(torch.ones(8))
    ours = session(range(4, 5), [scale])
    ours.begin_epoch(0)
    assert float(ours.step(torch.randn(6, 8) * scale, torch.full((6,), 4)).detach()) == 0
    assert torch.equal(scale.detach(), torch.ones(8))


def test_the_cosine_head_ignores_lengths() -> None:
    head = CosineHead(8, 3)
    features: Tensor = torch.randn(5, 8)
    logits = head(features)
    expected = F.cosine_similarity(features[:, None], head.weight[None], dim=-1)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(head(7 * features), logits)
