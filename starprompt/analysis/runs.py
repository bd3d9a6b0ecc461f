"""A record as rows of numbers, under the one set of column names that every table uses.

metrics              final_average_accuracy, final_weighted_accuracy, average_incremental_accuracy,
                     forgetting, backward_transfer, in percent
trained_parameters   that training changes
stored_parameters    numbers kept beside them for later tasks
stored_samples       images of past tasks that are kept
test_operations      floating-point, to predict one image; NaN where they were not counted
uses_clip            0 or 1
training_seconds     over all tasks, evaluation left out; with the ends of tasks
train_seconds_a_task, end_seconds_a_task
                     the two parts of it, mean over tasks
peak_memory_mb       of the GPU where one was used, else of the process
"""

import math

import pandas as pd

from starprompt.record.record import RunRecord

#: columns of :func:`accuracy_rows`
ACCURACY_COLUMNS = ("after_task", "task", "accuracy")


def run_row(record: RunRecord) -> dict[str, float | int | None]:
    """One run's metrics and costs, by the columns that the module lists."""
    tasks = len(record.times)
    counted = record.parameters
    return {
        **record.metrics.model_dump(),
        "trained_parameters": counted.get("trained", 0),
        "stored_parameters": counted.get("stored", 0),
        "stored_samples": counted.get("samples", 0),
        "test_operations": counted.get("operations", math.nan),
        "uses_clip": int("clip" in record.backbones),
        "training_seconds": sum(time.train + time.end for time in record.times),
        "train_seconds_a_task": sum(time.train for time in record.times) / tasks,
        "end_seconds_a_task": sum(time.end for time in record.times) / tasks,
        "peak_memory_mb": record.peak_memory_bytes / 1e6,
    }


def accuracy_rows(record: RunRecord) -> pd.DataFrame:
    """One row an evaluation: after_task, task (from 0), accuracy (percent); unseen tasks are left
    out."""
    rows = [
        (after_task, task, value)
        for after_task, row in enumerate(record.accuracy)
        for task, value in enumerate(row)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=list(ACCURACY_COLUMNS))
