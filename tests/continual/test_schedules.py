"""Learning-rate schedules against PyTorch's and by hand."""

import pytest
import torch

from starprompt.continual.schedules import half_cosine, stepped


@pytest.mark.parametrize("least", [0.0, 1e-5])
def test_half_a_cosine_is_pytorchs(least: float) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=7, eta_min=least)
    for epoch in range(7):
        assert half_cosine(epoch, 7, 0.3, least) == pytest.approx(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()


def test_a_tenth_after_so_many_epochs() -> None:
    assert [stepped(epoch, 30) for epoch in (0, 29, 30, 59, 60)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
