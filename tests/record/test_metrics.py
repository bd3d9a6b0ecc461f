"""The measures against worked examples and what must hold for every accuracy matrix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.record.metrics import measure

percent = st.floats(0, 100, allow_nan=False)


@st.composite
def sequential(draw: st.DrawFn) -> tuple[list[list[float | None]], list[int]]:
    n_tasks = draw(st.integers(1, 6))
    rows: list[list[float | None]] = []
    for t in range(n_tasks):
        seen = draw(st.lists(percent, min_size=t + 1, max_size=t + 1))
        rows.append([*seen, *[None] * (n_tasks - t - 1)])
    counts = draw(st.lists(st.integers(1, 500), min_size=n_tasks, max_size=n_tasks))
    return rows, counts


def test_a_worked_example() -> None:
    accuracy = [[90.0, None, None], [80.0, 70.0, None], [85.0, 40.0, 100.0]]
    metrics = measure(accuracy, [10, 20, 30])
    assert metrics.final_average_accuracy == pytest.approx(75.0)
    assert metrics.final_weighted_accuracy == pytest.approx((850 + 800 + 3000) / 60)
    assert metrics.average_incremental_accuracy == pytest.approx((90 + 75 + 75) / 3)
    assert metrics.forgetting == pytest.approx(((90 - 85) + (70 - 40)) / 2)
    assert metrics.backward_transfer == pytest.approx(((85 - 90) + (40 - 70)) / 2)


def test_forgetting_counts_from_the_best_and_transfer_from_the_first() -> None:
    metrics = measure([[50.0, None, None], [80.0, 60.0, None], [70.0, 60.0, 9.0]], [1, 1, 1])
    assert metrics.forgetting == pytest.approx((10 + 0) / 2)
    assert metrics.backward_transfer == pytest.approx((20 + 0) / 2)


def test_joint_training_has_one_row_and_nothing_to_forget() -> None:
    metrics = measure([[90.0, 60.0]], [10, 30])
    assert metrics.final_average_accuracy == metrics.average_incremental_accuracy == 75.0
    assert metrics.final_weighted_accuracy == pytest.approx(67.5)
    assert metrics.forgetting is None and metrics.backward_transfer is None


@pytest.mark.parametrize(
    ("accuracy", "counts"),
    [
        ([], [1]),
        ([[]], []),
        ([[1.0, 2.0]], [1]),
        ([[1.0, None]], [1, 1]),
        ([[None, None], [1.0, 2.0]], [1, 1]),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(
    accuracy: list[list[float | None]], counts: list[int]
) -> None:
    with pytest.raises(ValueError):
        measure(accuracy, counts)


@given(sequential())
def test_every_accuracy_lies_between_the_extremes(
    case: tuple[list[list[float | None]], list[int]],
) -> None:
    accuracy, counts = case
    metrics = measure(accuracy, counts)
    last = [value for value in accuracy[-1] if value is not None]
    for value in (metrics.final_average_accuracy, metrics.final_weighted_accuracy):
        assert min(last) - 1e-9 <= value <= max(last) + 1e-9
    assert -1e-9 <= metrics.average_incremental_accuracy <= 100 + 1e-9


@given(sequential())
def test_forgetting_is_at_least_the_negated_transfer(
    case: tuple[list[list[float | None]], list[int]],
) -> None:
    metrics = measure(*case)
    if len(case[1]) == 1:
        assert metrics.forgetting is None and metrics.backward_transfer is None
    else:
        assert metrics.forgetting is not None and metrics.backward_transfer is not None
        assert metrics.forgetting >= -metrics.backward_transfer - 1e-9


@given(sequential(), st.integers(1, 500))
def test_tasks_of_one_size_weigh_alike(
    case: tuple[list[list[float | None]], list[int]], size: int
) -> None:
    accuracy, counts = case
    metrics = measure(accuracy, [size] * len(counts))
    assert metrics.final_weighted_accuracy == pytest.approx(metrics.final_average_accuracy)


@given(st.lists(percent, min_size=1, max_size=8))
def test_a_learner_that_keeps_everything_forgets_nothing(values: list[float]) -> None:
    n = len(values)
    rows = [[*values[: t + 1], *[None] * (n - t - 1)] for t in range(n)]
    metrics = measure(rows, [1] * n)
    if n > 1:
        assert metrics.forgetting == 0 and metrics.backward_transfer == 0
