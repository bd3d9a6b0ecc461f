"""The ridge's choice: one factor of the smaller system gives what the large one gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from starprompt.replay.ridge import held_out_errors, ridge_solution

RIDGES = [10.0**power for power in range(-8, 9)]


def rows(n: int, m: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.relu(torch.randn(n, m, generator=generator))
    return features, torch.randn(n, 3, generator=generator)


def by_the_large_system(
    fit: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], ridge: float
) -> float:
    """As the released code has it, in float64."""
    h, y = (t.double() for t in fit)
    weights = torch.linalg.solve(h.T @ h + ridge * torch.eye(h.shape[1]).double(), h.T @ y)
    return float((held[0].double() @ weights - held[1]).square().mean())


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 60), m=st.integers(2, 60), seed=st.integers(0, 10**6))
def test_errors_are_those_of_the_large_system(n: int, m: int, seed: int) -> None:
    fit, held = rows(n, m, seed), rows(7, m, seed + 1)
    ridges = [ridge for ridge in RIDGES if ridge >= 0.1]
    expected = [by_the_large_system(fit, held, ridge) for ridge in ridges]
    assert held_out_errors(fit, held, ridges) == pytest.approx(expected, rel=1e-7)


def test_each_ridge_is_reported() -> None:
    said: list[tuple[int, int]] = []
    fit, held = rows(8, 20), rows(7, 20, 1)
    errors = held_out_errors(
        fit, held, RIDGES, report=lambda done, total: said.append((done, total))
    )
    assert said == [(done, len(RIDGES)) for done in range(len(RIDGES) + 1)]
    assert errors == held_out_errors(fit, held, RIDGES)


def test_a_past_gram_matrix_is_added() -> None:
    past, fit, held = rows(50, 20, 1), rows(8, 20, 2), rows(9, 20, 3)
    together = (torch.cat([past[0], fit[0]]), torch.cat([past[1], fit[1]]))
    errors = held_out_errors(fit, held, [1.0, 10.0], past[0].T @ past[0], past[0].T @ past[1])
    expected = [by_the_large_system(together, held, ridge) for ridge in (1.0, 10.0)]
    assert errors == pytest.approx(expected, rel=1e-5)


def test_more_rows_than_are_widened_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, held = rows(50, 20), rows(9, 20, 1)
    whole = held_out_errors(fit, held, RIDGES)
    monkeypatch.setattr("starprompt.replay.ridge.ROWS", 7)
    assert held_out_errors(fit, held, RIDGES) == pytest.approx(whole, rel=1e-9)


def test_a_ridge_that_float32_does_not_see_is_no_solution() -> None:
    fit, held = rows(10, 40), rows(9, 40, 1)
    errors = held_out_errors(fit, held, RIDGES)
    resolved = float((fit[0] ** 2).sum()) * torch.finfo(torch.float32).eps
    assert [error == float("inf") for error in errors] == [ridge < resolved for ridge in RIDGES]
    tall, held = rows(400, 10), rows(9, 10, 1)
    assert max(held_out_errors(tall, held, RIDGES)) < float("inf")
    twice = (torch.cat([tall[0], tall[0]], dim=1), tall[1])  # more rows than columns, and singular
    held_twice = (torch.cat([held[0], held[0]], dim=1), held[1])
    assert held_out_errors(twice, held_twice, [1e-8])[0] == float("inf")
    assert held_out_errors(twice, held_twice, [1.0])[0] < float("inf")


def test_no_row_to_fit_predicts_nothing() -> None:
    held = rows(3, 5)
    empty = (torch.zeros(0, 5), torch.zeros(0, 3))
    assert held_out_errors(empty, held, [1.0])[0] == pytest.approx(float(held[1].square().mean()))


def test_the_solution_solves() -> None:
    features, targets = rows(30, 8)
    gram, summed = features.T @ features, features.T @ targets
    weights = ridge_solution(gram, summed, 2.0)
    torch.testing.assert_close(gram @ weights + 2.0 * weights, summed, rtol=1e-4, atol=1e-4)
