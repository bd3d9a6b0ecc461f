"""Result folders as the runner leaves them, with made-up numbers: for tests of what reads them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from paper_figures.plan import DatasetColumn, MethodRow, Plan
from starprompt.record.metrics import measure
from starprompt.record.record import (
    PREDICTION_COLUMNS,
    SELECTION_COLUMNS,
    MethodRecord,
    RunRecord,
    StreamRecord,
    TaskTimes,
    read_record,
    write_record,
)
from tests.helpers.fake_diagnostics import write_fake_diagnostics


def fake_plan(
    folder: Path,
    methods: int = 3,
    datasets: int = 1,
    seeds: int = 3,
) -> Plan:
    """A plan over runs that :func:`write_fake_run` can write; its last method is a joint bound."""
    titles = [
        "STAR-Prompt",
        "STAR-Prompt (first stage)",
        "CLIP (zero-shot, ensemble of templates)",
        "Linear probe",
        "L2P (pool of 10 prompts & top-5)",
        "DualPrompt",
        "CODA-Prompt",
        "DER++ (500 stored images)",
        "SLCA (slow learner, classifier alignment)",
        "STAR-Prompt without confidence modulation",
        "STAR-Prompt with prefix prompts of length 5",
        "STAR-Prompt: 100% of x_1 | $y^2$ ~ {z} # \\",
    ]
    rows = [
        MethodRow(
            f"method-{i}", titles[i % 12], f"What method {i} does.", rehearsal="DER" in titles[i]
        )
        for i in range(methods - 1)
    ]
    rows.append(MethodRow("joint", "Joint (all tasks at once)", "The upper bound.", bound=True))
    return Plan(
        name="fake",
        title="Made-up numbers",
        runs=folder,
        methods=tuple(rows),
        datasets=tuple(DatasetColumn(f"set-{i}", f"Data set {i}") for i in range(datasets)),
        seeds=tuple([1993, 1996, 1997, *range(7)][:seeds]),
    )


def fake_record(
    plan: Plan, dataset: str, method: str, seed: int, accuracy: list[list[float | None]]
) -> RunRecord:
    """A record with this accuracy and classes dealt evenly to its tasks (two classes a task)."""
    tasks = len(accuracy[0])
    return _record(plan, dataset, method, seed, accuracy, n_classes=2 * tasks, n_tasks=tasks)


def write_fake_runs(plan: Plan, n_classes: int = 10, n_tasks: int = 5) -> None:
    """Every run of a plan. Methods get worse in their order; every second one selects prompts."""
    for dataset in plan.datasets:
        for index, method in enumerate(plan.methods):
            for seed in plan.seeds:
                write_fake_run(plan, dataset.name, method.name, seed, index, n_classes, n_tasks)


def write_fake_run(
    plan: Plan,
    dataset: str,
    method: str,
    seed: int,
    index: int,
    n_classes: int = 10,
    n_tasks: int = 5,
) -> Path:
    """One run's folder: record and both tables."""
    random = np.random.default_rng([seed, index])
    skill = 95 - 6 * index
    accuracy: list[list[float | None]] = [
        [
            float(np.clip(skill - 2 * (t - i) * index + random.normal(0, 2), 0, 100))
            if i <= t
            else None
            for i in range(n_tasks)
        ]
        for t in range(n_tasks)
    ]
    if method == "joint":
        accuracy = [[float(97 + random.normal()) for _ in range(n_tasks)]]
    record = _record(plan, dataset, method, seed, accuracy, n_classes, n_tasks)
    folder = plan.run_folder(dataset, method, seed)
    write_record(folder / "record.json", record)
    write_selection(folder, _selection(random, record, index) if index % 2 == 0 else {})
    empty = {name: pa.array([], pa.type_for_alias(t)) for name, t in PREDICTION_COLUMNS.items()}
    pq.write_table(pa.table(empty), folder / "predictions.parquet")
    write_fake_diagnostics(folder, record, drift=0.2 * index)
    return folder


def rewrite_accuracy(folder: Path, accuracy: list[list[float | None]]) -> None:
    """Give a finished run another accuracy matrix and the metrics that follow from it."""
    record = read_record(folder / "record.json")
    metrics = measure(accuracy, record.stream.test_counts)
    change = {"accuracy": accuracy, "metrics": metrics}
    write_record(folder / "record.json", record.model_copy(update=change))


def write_selection(folder: Path, columns: dict[str, np.ndarray]) -> None:
    """selection.parquet with the record's own column types; no columns: no rows."""
    arrays = {
        name: pa.array(columns.get(name, []), pa.type_for_alias(kind))
        for name, kind in SELECTION_COLUMNS.items()
    }
    pq.write_table(pa.table(arrays), folder / "selection.parquet")


def _selection(
    random: np.random.Generator, record: RunRecord, index: int, layers: int = 4, images: int = 6
) -> dict[str, np.ndarray]:
    """Rows after the last two tasks, mostly right."""
    n_classes = len(record.stream.class_names)
    true = np.tile(np.repeat(np.arange(n_classes), images), layers)
    right = random.random(len(true)) < 0.9 - 0.05 * index
    chosen = np.where(right, true, random.integers(0, n_classes, len(true)))
    half = {
        "image_id": np.tile(np.arange(n_classes * images), layers),
        "after_task": np.full(len(true), len(record.stream.test_counts) - 1),
        "layer": np.repeat(np.arange(layers), n_classes * images),
        "true_class": true,
        "chosen_class": chosen,
        "similarity": random.random(len(true)),
        "prompt": chosen,
        "chosen_task": np.full(len(true), -1),
        "weight": np.ones(len(true)),
    }
    earlier = {**half, "after_task": half["after_task"] - 1, "chosen_class": np.zeros_like(true)}
    return {name: np.concatenate([earlier[name], half[name]]) for name in half}


def _record(
    plan: Plan,
    dataset: str,
    method: str,
    seed: int,
    accuracy: list[list[float | None]],
    n_classes: int,
    n_tasks: int,
) -> RunRecord:
    order = np.random.RandomState(seed).permutation(n_classes)
    names = [""] * n_classes
    for source, label in enumerate(order):
        names[label] = f"the class of number {source}"
    return RunRecord(
        config=plan.name,
        method=MethodRecord(name=method, title=method, learner="made:Up", hyperparameters={}),
        stream=StreamRecord(
            dataset=dataset,
            title=dataset,
            seed=seed,
            class_names=names,
            class_order=order.tolist(),
            task_of_class=[label * n_tasks // n_classes for label in range(n_classes)],
            train_counts=[100] * n_tasks,
            test_counts=[20] * n_tasks,
            data_digest="d" * 64,
        ),
        accuracy=accuracy,
        metrics=measure(accuracy, [20] * n_tasks),
        times=[TaskTimes(train=1.5, end=0.5, evaluate=9.0, steps=3) for _ in accuracy],
        losses=[],
        parameters={"trained": 1234567},
        backbones={},
        keys=None,
        device={"kind": "cpu"},
        peak_memory_bytes=1,
        versions={},
        git_revision="",
        started="2024-01-01T00:00:00+00:00",
        finished="2024-01-01T00:01:00+00:00",
        attempts=1,
        fingerprint="f" * 64,
    )
