"""A record as rows: sums over tasks, means a task, and evaluations without what was not seen."""

import math
from pathlib import Path

import pytest

from starprompt.analysis.runs import accuracy_rows, run_row
from starprompt.record.record import RunRecord, TaskTimes
from tests.helpers.fake_results import fake_plan, fake_record


@pytest.fixture
def record() -> RunRecord:
    accuracy: list[list[float | None]] = [[90.0, None], [70.0, 80.0]]
    found = fake_record(fake_plan(Path()), "set-0", "method-0", 1993, accuracy)
    times = [
        TaskTimes(train=10.0, end=1.0, evaluate=5.0, steps=1),
        TaskTimes(train=20.0, end=4.0, evaluate=5.0, steps=1),
    ]
    return found.model_copy(
        update={
            "times": times,
            "parameters": {"trained": 7, "stored": 8, "samples": 9, "operations": 10},
            "peak_memory_bytes": 2_500_000,
            "backbones": {"vit": {}, "clip": {}},
        }
    )


def test_costs_are_sums_without_evaluation_and_means_a_task(record: RunRecord) -> None:
    row = run_row(record)
    assert row["training_seconds"] == 35
    assert (row["train_seconds_a_task"], row["end_seconds_a_task"]) == (15, 2.5)
    assert row["peak_memory_mb"] == 2.5
    counted = ["trained_parameters", "stored_parameters", "stored_samples", "test_operations"]
    assert [row[name] for name in counted] == [7, 8, 9, 10]
    assert row["uses_clip"] == 1
    assert row["final_average_accuracy"] == 75
    assert row["forgetting"] == 20


def test_what_was_not_counted_is_nothing_but_operations_are_unknown(record: RunRecord) -> None:
    row = run_row(record.model_copy(update={"parameters": {}, "backbones": {"vit": {}}}))
    counted = ["trained_parameters", "stored_parameters", "stored_samples", "uses_clip"]
    assert [row[name] for name in counted] == [0, 0, 0, 0]
    assert math.isnan(row["test_operations"] or 0)


def test_evaluations_are_rows_by_task_learned_and_task_tested(record: RunRecord) -> None:
    rows = accuracy_rows(record).to_dict("list")
    assert rows == {"after_task": [0, 1, 1], "task": [0, 0, 1], "accuracy": [90, 70, 80]}
