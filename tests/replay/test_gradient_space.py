"""The space of old tasks' gradients: what is outside, and how it grows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from starprompt.replay.gradient_space import GradientSpace

DIM = 12


def moment(rank: int, seed: int) -> Tensor:
    """Mean of x x^T of inputs within a random subspace of ``rank`` dimensions."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(50, rank, generator=generator) @ torch.randn(rank, DIM, generator=generator)
    return x.T @ x / len(x)


def nothing() -> GradientSpace:
    return GradientSpace(torch.zeros(DIM, 0))


def projector(space: GradientSpace) -> Tensor:
    """Onto the old tasks' space, in whichever form it is kept."""
    along = space.basis @ space.basis.T
    return torch.eye(DIM) - along if space.complement else along


@settings(deadline=None, max_examples=40)
@given(ranks=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_designed_directions_do_not_meet_old_inputs(ranks: list[int], seed: int) -> None:
    """After tasks whose inputs are kept whole, no direction of a new one sees an old input."""
    space = nothing()
    old = [moment(rank, seed + i) for i, rank in enumerate(ranks)]
    for one in old:
        space = space.grown(one, 1 - 1e-6)
        space = space.grown(one, 1 - 1e-6)  # the first task's last direction is left out
    assert space.basis.shape[1] <= DIM / 2, "the smaller of both is kept"
    directions = space.directions_outside(moment(DIM, seed + 100))
    for one in old:
        across = (directions.T @ one @ directions).diagonal().clamp_min(0).sqrt()
        assert float(across.max()) < 2e-2 * float(one.trace().sqrt())


@settings(deadline=None, max_examples=40)
@given(threshold=st.floats(0.5, 0.99), seed=st.integers(0, 1000))
def test_both_forms_grow_alike(threshold: float, seed: int) -> None:
    """A space and the complement of its complement grow by the same directions."""
    start = nothing().grown(moment(DIM, seed), 0.8)
    other = torch.linalg.svd(start.basis).U[:, start.basis.shape[1] :]
    turned = GradientSpace(other, complement=True)
    new = moment(DIM, seed + 1)
    torch.testing.assert_close(turned.outside(new), start.outside(new), atol=1e-3, rtol=1e-3)
    grown, again = start.grown(new, threshold), turned.grown(new, threshold)
    torch.testing.assert_close(projector(again), projector(grown), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("threshold", "columns"), [(0.0001, 1), (0.5, 1), (0.9, 1), (0.95, 2)])
def test_the_first_task_leaves_out_the_direction_that_reaches_the_threshold(
    threshold: float, columns: int
) -> None:
    """Squared sizes 0.64, 0.27, 0.09 of the whole: sums 0.64, 0.91, 1."""
    sizes = torch.tensor([0.64, 0.27, 0.09]).sqrt()
    assert nothing().grown(diagonal(sizes), threshold).basis.shape[1] == columns


def test_a_later_task_takes_it() -> None:
    start = GradientSpace(torch.eye(DIM)[:, 3:4])
    sizes = torch.tensor([0.64, 0.27, 0.09]).sqrt()
    assert start.grown(diagonal(sizes), 0.5).basis.shape[1] == 2
    assert start.grown(diagonal(sizes), 0.9).basis.shape[1] == 3
    assert start.grown(diagonal(sizes), 0.95).basis.shape[1] == 4


def diagonal(sizes: Tensor) -> Tensor:
    return torch.diag(torch.cat([sizes, torch.zeros(DIM - len(sizes))]))


def test_where_nothing_is_left_there_are_no_directions() -> None:
    full = GradientSpace(torch.zeros(DIM, 0), complement=True)
    assert not full.directions_outside(moment(DIM, 3)).any()
    assert full.grown(moment(DIM, 3), 0.99).basis.shape == (DIM, 0)
