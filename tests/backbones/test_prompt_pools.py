"""A vote over a batch, a head's start, and a limit on gradients that counts frozen ones too."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from starprompt.backbones.prompt_pools import head_of, limit_gradients, orthonormal_rows, voted


def test_a_majority_wins_and_a_tie_goes_to_the_lower_index() -> None:
    chosen = torch.tensor([[4, 2], [4, 3], [4, 1]])
    assert voted(chosen, 5, 3).tolist() == [[4, 1]] * 3
    assert voted(torch.tensor([[3], [0], [3]]), 4, 3).tolist() == [[3]] * 3


def test_each_group_of_voters_elects_its_own_and_the_last_may_be_smaller() -> None:
    chosen = torch.tensor([[0], [0], [1], [1], [2]])
    assert voted(chosen, 3, 2).tolist() == [[0], [0], [1], [1], [2]]
    assert voted(chosen, 3, 3).tolist() == [[0], [0], [0], [1], [1]]


@given(rows=st.lists(st.permutations(range(6)), min_size=1, max_size=8), n=st.integers(1, 3))
def test_none_left_out_has_more_votes_than_one_elected(rows: list[list[int]], n: int) -> None:
    chosen = torch.tensor(rows)[:, :n]
    elected = voted(chosen, 6, len(rows))
    assert elected.shape == chosen.shape
    assert (elected == elected[0]).all()
    votes = [int((chosen == index).sum()) for index in range(6)]
    winners = elected[0].tolist()
    assert len(set(winners)) == n
    assert min(votes[i] for i in winners) >= max(votes[i] for i in set(range(6)) - set(winners))


def test_a_head_starts_at_zero_as_released_or_as_pytorchs() -> None:
    zero = head_of(8, 3, "zero")
    assert not zero.weight.any()
    assert not zero.bias.any()
    uniform = head_of(8, 3, "uniform")
    assert uniform.weight.any()
    assert uniform.bias.any()
    assert uniform.weight.abs().max() <= 1 / math.sqrt(8)


def _with_gradient(*values: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros(len(values)))
    parameter.grad = torch.tensor(values)
    return parameter


def test_gradients_above_the_limit_are_scaled_to_it() -> None:
    one, other = _with_gradient(3.0), _with_gradient(0.0, 4.0)
    assert limit_gradients([one, other], 1.0).item() == pytest.approx(5)
    assert one.grad is not None
    assert other.grad is not None
    assert one.grad.tolist() == pytest.approx([0.6], abs=1e-5)
    assert other.grad.tolist() == pytest.approx([0, 0.8], abs=1e-5)
    assert limit_gradients([one], 5.0).item() == pytest.approx(0.6, abs=1e-5)
    assert one.grad.tolist() == pytest.approx([0.6], abs=1e-5)


def test_frozen_gradients_belong_to_the_norm_and_are_dropped() -> None:
    trained = _with_gradient(3.0)
    frozen = nn.Linear(1, 1, bias=False)
    frozen.weight.grad = torch.tensor([[4.0]])
    assert limit_gradients([trained], 1.0, frozen).item() == pytest.approx(5)
    assert frozen.weight.grad is None
    assert trained.grad is not None
    assert trained.grad.item() == pytest.approx(0.6, abs=1e-5)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.permutations(range(6)).map(lambda p: p[:n]), min_size=1, max_size=8)
    ),
    st.integers(1, 9),
)
def test_a_vote_is_for_what_most_voters_chose(choices: list[list[int]], voters: int) -> None:
    expected = []
    for first in range(0, len(choices), voters):
        group = choices[first : first + voters]
        votes = [sum(index in choice for choice in group) for index in range(6)]
        elected = sorted(range(6), key=lambda index: (-votes[index], index))[: len(choices[0])]
        expected += [elected] * len(group)
    assert voted(torch.tensor(choices), 6, voters).tolist() == expected


@pytest.mark.parametrize(("past", "dim"), [(0, 30), (4, 30), (24, 30), (0, 6)])
def test_new_rows_start_orthonormal(past: int, dim: int) -> None:
    torch.manual_seed(0)
    rows = torch.randn(past, dim)
    new = orthonormal_rows(6, rows)
    torch.testing.assert_close(new @ new.T, torch.eye(6), atol=1e-6, rtol=0)
    if past:
        assert float((new @ F.normalize(rows, dim=-1).T).abs().max()) < 1e-6
