"""The measures of continual learning, from the accuracy matrix.

``accuracy[t][i]`` is the percentage of task i's test images that are right after trained task t,
over all classes seen by then and with no task identity given; None where task i was not yet seen.
Columns are always the stream's tasks. Rows are the tasks that were trained: as many as columns, or
a single one when all classes were learned jointly.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

Row = Sequence[float | None]
#: by how many percentage points a stored measure may differ from the one computed anew
ROUNDING = 1e-6


class Metrics(BaseModel):
    """The measures of one run, in percent; None where a stream of one task has none."""

    model_config = ConfigDict(extra="forbid")

    final_average_accuracy: float
    final_weighted_accuracy: float
    average_incremental_accuracy: float
    forgetting: float | None
    backward_transfer: float | None


def measure(accuracy: Sequence[Row], test_counts: Sequence[int]) -> Metrics:
    """All measures of one run, in percent.

    accuracy     T_trained rows of T entries, see above
    test_counts  T numbers of test images

    Raises ValueError when the matrix is empty or ragged, or its last row has a task unseen.
    """
    _check(accuracy, len(test_counts))
    return Metrics(
        final_average_accuracy=final_average_accuracy(accuracy),
        final_weighted_accuracy=final_weighted_accuracy(accuracy, test_counts),
        average_incremental_accuracy=average_incremental_accuracy(accuracy),
        forgetting=forgetting(accuracy),
        backward_transfer=backward_transfer(accuracy),
    )


def contradiction(
    metrics: Metrics, accuracy: Sequence[Row], test_counts: Sequence[int]
) -> str | None:
    """Which measure differs from what the matrix gives, in words; None where all agree."""
    for name, expected in measure(accuracy, test_counts).model_dump().items():
        found = getattr(metrics, name)
        if found is None and expected is None:
            continue
        # written this way round, a NaN is refused
        if found is None or expected is None or not abs(found - expected) <= ROUNDING:
            return f"metrics.{name} is {found}, but the accuracy matrix gives {expected}"
    return None


def final_average_accuracy(accuracy: Sequence[Row]) -> float:
    """mean_i A[T, i]: the paper's number."""
    return _mean(_seen(accuracy[-1]))


def final_weighted_accuracy(accuracy: Sequence[Row], test_counts: Sequence[int]) -> float:
    """Percentage of all test images that are right at the end; tasks may differ in size."""
    last = _seen(accuracy[-1])
    right = sum(value * count for value, count in zip(last, test_counts, strict=True))
    return right / sum(test_counts)


def average_incremental_accuracy(accuracy: Sequence[Row]) -> float:
    """mean_t mean_{i <= t} A[t, i]."""
    return _mean([_mean(_seen(row)) for row in accuracy])


def forgetting(accuracy: Sequence[Row]) -> float | None:
    """mean_{i < T} (max_{t < T} A[t, i] - A[T, i]); None if nothing was seen before the end."""
    *earlier, last = accuracy
    losses = []
    for task, final in enumerate(last):
        history = _seen([row[task] for row in earlier])
        if history and final is not None:
            losses.append(max(history) - final)
    return _mean(losses) if losses else None


def backward_transfer(accuracy: Sequence[Row]) -> float | None:
    """mean_{i < T} (A[T, i] - A[i, i]); None if nothing was seen before the end."""
    *earlier, last = accuracy
    gains = []
    for task, final in enumerate(last):
        history = _seen([row[task] for row in earlier])
        if history and final is not None:
            gains.append(final - history[0])
    return _mean(gains) if gains else None


def _seen(row: Row) -> list[float]:
    return [value for value in row if value is not None]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _check(accuracy: Sequence[Row], n_tasks: int) -> None:
    if not accuracy or not n_tasks:
        raise ValueError("no task was evaluated: there is nothing to measure")
    if any(len(row) != n_tasks for row in accuracy):
        raise ValueError(f"every row of the accuracy matrix must have {n_tasks} entries")
    if any(not _seen(row) for row in accuracy):
        raise ValueError("a row of the accuracy matrix has no task seen")
    if None in accuracy[-1]:
        raise ValueError("the last row of the accuracy matrix must have every task seen")
