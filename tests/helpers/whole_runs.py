"""Finished runs whose five files agree with each other, with made-up numbers; no training."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from starprompt.config.experiment import Config, Run
from starprompt.config.methods import load_method
from starprompt.files import sha256_file
from starprompt.record.metrics import measure
from starprompt.record.record import (
    PREDICTION_COLUMNS,
    MethodRecord,
    RunRecord,
    StreamRecord,
    TaskTimes,
    write_record,
)
from starprompt.record.run_files import CHECKPOINT, DIAGNOSTICS, PREDICTIONS, RECORD, RUN_FILES
from tests.helpers import fake_results

TASKS, IMAGES = 3, 20


def write_whole_run(config: Config, run: Run, folder: Path, skill: float = 0.8) -> RunRecord:
    """A run of ``config``, its keys those of the first stage's run beside it."""
    random = np.random.default_rng([run.seed, len(run.method), int(100 * skill)])
    joint = load_method(run.method).stream == "joint"
    columns: dict[str, list[np.ndarray]] = {name: [] for name in PREDICTION_COLUMNS}
    accuracy: list[list[float | None]] = []
    for after in range(1 if joint else TASKS):
        row: list[float | None] = [None] * TASKS
        for task in range(TASKS if joint else after + 1):
            label = 2 * task + np.arange(IMAGES) % 2
            right = random.random(IMAGES) < skill
            rows = {
                "image_id": IMAGES * task + np.arange(IMAGES),
                "task": np.full(IMAGES, task),
                "label": label,
                "prediction": np.where(right, label, (label + 1) % (2 * TASKS)),
                "score": np.full(IMAGES, 0.5),
                "after_task": np.full(IMAGES, after),
            }
            for name, values in rows.items():
                columns[name].append(values)
            row[task] = 100 * float(right.mean())
        accuracy.append(row)
    folder.mkdir(parents=True)
    arrays = {
        name: pa.array(np.concatenate(parts)).cast(pa.type_for_alias(PREDICTION_COLUMNS[name]))
        for name, parts in columns.items()
    }
    pq.write_table(pa.table(arrays), folder / PREDICTIONS)
    fake_results.write_selection(folder, {})
    for name in (DIAGNOSTICS, CHECKPOINT):
        save_file({"noise": random.random(4)}, folder / name)
    record = _record(config, run, accuracy, folder)
    write_record(folder / RECORD, record)
    return record


def _record(
    config: Config, run: Run, accuracy: list[list[float | None]], folder: Path
) -> RunRecord:
    spec = load_method(run.method)
    order = np.random.RandomState(run.seed).permutation(2 * TASKS)
    keys = None
    if spec.keys is not None:
        made = folder.parents[1] / spec.keys / folder.name / CHECKPOINT
        keys = {"method": spec.keys, "digest": sha256_file(made)}
    return RunRecord(
        config=config.name,
        method=MethodRecord(
            name=run.method,
            title=spec.title,
            learner=spec.learner,
            hyperparameters=spec.resolve(run.dataset),
        ),
        stream=StreamRecord(
            dataset=run.dataset,
            title=run.dataset,
            seed=run.seed,
            class_names=[f"class {label}" for label in range(2 * TASKS)],
            class_order=order.tolist(),
            task_of_class=[label // 2 for label in range(2 * TASKS)],
            train_counts=[100] * TASKS,
            test_counts=[IMAGES] * TASKS,
            data_digest="d" * 64,
        ),
        accuracy=accuracy,
        metrics=measure(accuracy, [IMAGES] * TASKS),
        times=[TaskTimes(train=1.5, end=0.5, evaluate=9.0, steps=3) for _ in accuracy],
        losses=[],
        parameters={"trained": 1234567},
        backbones={
            kind: {"name": getattr(config.backbones, kind), "digest": "b" * 64}
            for kind in spec.uses
        },
        keys=keys,
        device={"type": "cpu", "name": "A processor"},
        peak_memory_bytes=1_000_000,
        versions={"torch": "2.8", "python": "3.12"},
        git_revision="c" * 40,
        started="2024-01-01T00:00:00+00:00",
        finished="2024-01-01T00:01:00+00:00",
        attempts=1,
        fingerprint="f" * 64,
        digests={name: sha256_file(folder / name) for name in RUN_FILES if name != RECORD},
        extra={"precision": "float32", "compile": False, "validation": None},
    )


def write_whole_grid(config: Config, runs: list[Run], root: Path, skill: float = 0.8) -> None:
    """The given runs under ``root``, which stands for the folder that holds ``results``."""
    for run in sorted(runs, key=lambda run: load_method(run.method).keys is not None):
        write_whole_run(config, run, root / config.run_folder(run), skill)
