"""Means of losses, and the step at which one is not finite."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.continual.losses import LossWatch
from starprompt.errors import UserError


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=120), st.integers(1, 60))
def test_means_do_not_depend_on_when_losses_are_read(values: list[float], every: int) -> None:
    watch = LossWatch("a run", read_every=every)
    for step, value in enumerate(values):
        watch.add(step, {"loss": torch.tensor(value, dtype=torch.float64)})
    assert watch.means() == {"loss": pytest.approx(sum(values) / len(values), abs=1e-9)}


@given(
    st.integers(1, 130), st.integers(0, 129), st.sampled_from(["nan", "inf"]), st.integers(1, 60)
)
def test_the_first_bad_step_is_named(n: int, bad: int, kind: str, every: int) -> None:
    watch = LossWatch("m on d, task 2 of 5, epoch 3 of 4", read_every=every)

    def feed() -> None:
        for step in range(n):
            other = float(kind) if step >= bad else 1.0
            watch.add(step, {"loss": torch.tensor(1.0), "other": torch.tensor(other)})
        watch.means()

    if bad >= n:
        feed()
    else:
        with pytest.raises(UserError, match=rf"task 2 of 5, epoch 3 of 4, step {bad + 1};"):
            feed()


def test_what_is_no_scalar_loss_is_refused() -> None:
    watch = LossWatch("a run")
    with pytest.raises(UserError, match='"loss" among them'):
        watch.add(0, {"cross_entropy": torch.tensor(1.0)})
    with pytest.raises(UserError, match="must be a scalar"):
        watch.add(0, {"loss": torch.ones(3)})


def test_losses_keep_no_graph() -> None:
    weight = torch.ones((), requires_grad=True)
    watch = LossWatch("a run")
    watch.add(0, {"loss": weight * 2})
    assert not any(value.requires_grad for _, losses in watch._pending for value in losses.values())
