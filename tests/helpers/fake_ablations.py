"""Runs of STAR-Prompt's variants as the runner leaves them, with made-up numbers."""

from pathlib import Path

import numpy as np

from paper_figures.analyses import Analyses
from paper_figures.plan import DatasetColumn, MethodRow, Plan
from starprompt.analysis.report import analyse, write_tables
from starprompt.config.thresholds import Thresholds
from starprompt.record.record import EpochLosses, RunRecord, read_record, write_record
from tests.helpers import fake_results
from tests.helpers.fake_diagnostics import write_fake_diagnostics

#: by name: how wrong its choices become with every task, how its keys turn, its hyperparameters
PROMPTING = {
    "starprompt": (0.05, 0.0, {"components": 5}),
    "starprompt-clip-keys": (0.1, 0.0, {"components": 5, "key_source": "template"}),
    "starprompt-learned-keys": (0.4, 0.6, {"components": 5, "key_source": "learned"}),
    "starprompt-prefix": (0.05, 0.0, {"components": 5, "injection": "prefix"}),
    "starprompt-gaussian": (0.05, 0.0, {"components": 1}),
    "starprompt-no-replay-1": (0.05, 0.0, {"components": 5}),
}
METHODS = [*PROMPTING, "starprompt-first-stage", "clip-zero-shot"]


def fake_runs(
    folder: Path, datasets: int = 1, n_classes: int = 6, n_tasks: int = 3, seeds: int = 3
) -> Plan:
    """Write every run under ``folder``; return the plan of the ablations' tables."""
    plan = Plan(
        name="fake",
        title="Made-up numbers",
        runs=folder,
        methods=tuple(
            MethodRow(name, name.capitalize(), f"What {name} is.") for name in METHODS[:-1]
        ),
        datasets=tuple(DatasetColumn(f"set-{i}", f"Data set {i}") for i in range(datasets)),
        seeds=(1993, 1996, 1997)[:seeds],
    )
    for dataset in plan.datasets:
        for index, method in enumerate(METHODS):
            for seed in plan.seeds:
                at = fake_results.write_fake_run(
                    plan, dataset.name, method, seed, index, n_classes, n_tasks
                )
                _dress(at, method, index)
    return plan


def _dress(folder: Path, method: str, index: int) -> None:
    """Give a run what variants of STAR-Prompt have and other methods lack."""
    record = read_record(folder / "record.json")
    wrong, drift, hyperparameters = PROMPTING.get(method, (0.0, 0.0, {}))
    record.method.hyperparameters = dict(hyperparameters)
    if method in PROMPTING:
        record.keys = {"method": "starprompt-first-stage", "digest": "k" * 64}
    tasks = len(record.accuracy)
    record.times = record.times * 1
    record.losses = [
        EpochLosses(task=t, epoch=e, losses={"loss": 1 / (1 + e), "accuracy": e / 4})
        for t in range(tasks)
        for e in range(4)
    ]
    values = [{"selection_confusion": wrong * t} for t in range(tasks)] if wrong else []
    record.extra = {"signatures": {"tasks": values}} if values else {}
    write_record(folder / "record.json", record)
    fake_results.write_selection(folder, _selection(record, wrong) if method in PROMPTING else {})
    write_fake_diagnostics(folder, record, drift)


def _selection(record: RunRecord, wrong: float, layers: int = 2, images: int = 5) -> dict:
    """All seen classes after every task; old images choose newer classes more and more."""
    random = np.random.default_rng(record.stream.seed)
    task_of_class = np.asarray(record.stream.task_of_class)
    parts = []
    for after_task in range(len(record.accuracy)):
        seen = int((task_of_class <= after_task).sum())
        true = np.tile(np.repeat(np.arange(seen), images), layers)
        astray = random.random(len(true)) < wrong * (after_task - task_of_class[true])
        parts.append(
            {
                "image_id": np.tile(np.arange(seen * images), layers),
                "after_task": np.full(len(true), after_task),
                "layer": np.repeat(np.arange(layers), seen * images),
                "true_class": true,
                "chosen_class": np.where(astray, seen - 1, true),
                "similarity": random.random(len(true)),
                "prompt": np.where(astray, seen - 1, true),
                "chosen_task": np.full(len(true), -1),
                "weight": np.ones(len(true)),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fake_analyses(folder: Path, **sizes: int) -> Analyses:
    """Runs, and the analyses of them."""
    plan = fake_runs(folder / "runs", **sizes)
    for dataset in plan.datasets:
        tables = analyse(
            plan.runs / dataset.name,
            METHODS[:-1],
            plan.seeds,
            "starprompt",
            "clip-zero-shot",
            Thresholds(),
        )
        write_tables(tables, folder / "analysis" / dataset.name)
    return Analyses(plan, "starprompt", folder / "analysis")
