"""All records of an experiment as tidy frames: one row a run, or one row a run, task and time."""

from dataclasses import dataclass

import pandas as pd

from paper_figures.plan import Plan
from starprompt.errors import UserError
from starprompt.record.record import RunRecord, read_record
from starprompt.record.run_files import RECORD

#: How many missing runs a message names before it only counts them.
_NAMED = 8


@dataclass(frozen=True)
class Results:
    """Every run of a plan.

    records   by (dataset, method, seed)
    runs      one row a run: dataset, method, seed, the metrics (percent), trained_parameters,
              stored_parameters, stored_samples, gigaflops (to predict an image), uses_clip (0, 1),
              training_seconds, peak_memory_mb
    accuracy  one row an evaluation: dataset, method, seed, after_task, task, accuracy (percent);
              pairs whose task was not yet seen are left out
    """

    plan: Plan
    records: dict[tuple[str, str, int], RunRecord]
    runs: pd.DataFrame
    accuracy: pd.DataFrame


def collect(plan: Plan) -> Results:
    """Read every run of ``plan``.

    Raises :class:`UserError` naming the runs that are not there, a damaged record, or two runs of
    one data set and seed that did not see the same stream.
    """
    records = _read_all(plan)
    _refuse_unlike_streams(records)
    return Results(
        plan=plan,
        records=records,
        runs=pd.DataFrame([_run_row(*key, record) for key, record in records.items()]),
        accuracy=pd.DataFrame(
            [row for key, record in records.items() for row in _accuracy_rows(*key, record)],
            columns=["dataset", "method", "seed", "after_task", "task", "accuracy"],
        ),
    )


def _read_all(plan: Plan) -> dict[tuple[str, str, int], RunRecord]:
    records, missing = {}, []
    total = len(plan.datasets) * len(plan.methods) * len(plan.seeds)
    for dataset in plan.datasets:
        for method in plan.methods:
            for seed in plan.seeds:
                path = plan.run_folder(dataset.name, method.name, seed) / RECORD
                if path.is_file():
                    records[dataset.name, method.name, seed] = read_record(path)
                else:
                    missing.append(f"{dataset.name}/{method.name}/seed{seed}")
    if missing:
        named = ", ".join(missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise UserError(
            f"{len(missing)} of the {total} runs of {plan.name!r} have no record under "
            f"{plan.runs}: {named}{more}; run them first."
        )
    return records


def _refuse_unlike_streams(records: dict[tuple[str, str, int], RunRecord]) -> None:
    first: dict[tuple[str, int], tuple[str, RunRecord]] = {}
    for (dataset, method, seed), record in records.items():
        other_method, other = first.setdefault((dataset, seed), (method, record))
        for field in ("data_digest", "class_order", "task_of_class", "test_counts"):
            if getattr(record.stream, field) != getattr(other.stream, field):
                raise UserError(
                    f"{other_method} and {method} on {dataset} under seed {seed} did not see the "
                    f"same stream ({field} differs): their numbers can't stand in one table; "
                    "remove the older run's folder and run it again."
                )


def _run_row(dataset: str, method: str, seed: int, record: RunRecord) -> dict[str, object]:
    return {
        "dataset": dataset,
        "method": method,
        "seed": seed,
        **record.metrics.model_dump(),
        "trained_parameters": record.parameters.get("trained", 0),
        "stored_parameters": record.parameters.get("stored", 0),
        "stored_samples": record.parameters.get("samples", 0),
        "gigaflops": record.parameters.get("operations", float("nan")) / 1e9,
        "uses_clip": int("clip" in record.backbones),
        "training_seconds": sum(task.train + task.end for task in record.times),
        "peak_memory_mb": record.peak_memory_bytes / 1e6,
    }


def _accuracy_rows(
    dataset: str, method: str, seed: int, record: RunRecord
) -> list[tuple[str, str, int, int, int, float]]:
    return [
        (dataset, method, seed, after_task, task, value)
        for after_task, row in enumerate(record.accuracy)
        for task, value in enumerate(row)
        if value is not None
    ]
