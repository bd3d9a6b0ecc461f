"""Digests of runs' predictions: whether this machine's numbers are those of another, and if not,
which run and which task they first differ in.

An experiment with portable numerics has its digests in ``config/digests/NAME.json``. A run's
predictions after each task have two, of the predicted classes and of the scores behind them, so
that a rounding that changes no answer is distinguished from one that does.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from starprompt.errors import UserError, invalid_file
from starprompt.files import read_json, sha256_file, write_json
from starprompt.record.record import read_record

#: libraries and the interpreter whose versions decide how numbers are rounded
ROUNDING = ("python", "torch", "torchvision", "timm", "open_clip_torch", "numpy", "libc")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TaskDigest(_Part):
    """Hex SHA-256, the first 16 digits, of one evaluation's columns in the order of its rows."""

    predictions: str = Field(description="image_id, task, label and prediction")
    scores: str


class RunDigest(_Part):
    """One run's predictions."""

    file: str = Field(description="hex SHA-256 of predictions.parquet")
    writer: str = Field(description="library that wrote the file")
    final_average_accuracy: float
    tasks: list[TaskDigest] = Field(description="of the evaluation after each task")


class Digests(_Part):
    """The runs of an experiment by ``dataset/method/seed``, and what they were computed with."""

    experiment: str
    versions: dict[str, str]
    runs: dict[str, RunDigest]


def digest_runs(experiment: str, folders: Mapping[str, Path]) -> Digests:
    """Digests of finished runs, given by name.

    Raises :class:`UserError` for a run that is missing or damaged, whose record says that it was
    not computed with portable numerics, or that other versions computed than the rest.
    """
    runs: dict[str, RunDigest] = {}
    versions: dict[str, str] = {}
    for name, folder in folders.items():
        record = read_record(folder / "record.json")
        about = record.device.get("numerics", {})
        if record.extra.get("numerics") != "portable":
            raise UserError(
                f"{folder} was not computed with numerics: portable, and only portable runs "
                "have digests that another processor can reproduce; set it and run again."
            )
        known = {**record.versions, "libc": about.get("libc", "unknown")}
        own = {library: known.get(library, "unknown") for library in ROUNDING}
        if versions and own != versions:
            raise UserError(
                f"{folder} was computed with {_difference(own, versions)}, unlike the runs "
                "before it; run all of them in one environment."
            )
        versions = own
        accuracy = record.metrics.final_average_accuracy
        runs[name] = _digest_predictions(folder / "predictions.parquet", accuracy)
    return Digests(experiment=experiment, versions=versions, runs=runs)


def _digest_predictions(path: Path, accuracy: float) -> RunDigest:
    try:
        with pq.ParquetFile(path) as file:
            table, writer = file.read(), file.metadata.created_by
        column = {name: table[name].to_numpy() for name in table.column_names}
        tasks = []
        for after in np.unique(column["after_task"]):
            rows = column["after_task"] == after
            answers = [
                column[name][rows].astype("<i8")
                for name in ("image_id", "task", "label", "prediction")
            ]
            scores = column["score"][rows].astype("<f4")
            tasks.append(TaskDigest(predictions=_digest(*answers), scores=_digest(scores)))
    except (OSError, KeyError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise UserError(
            f"{path} is not a table of predictions ({error}); remove the run's folder and run "
            "it again."
        ) from error
    return RunDigest(
        file=sha256_file(path), writer=writer, final_average_accuracy=accuracy, tasks=tasks
    )


def _digest(*columns: np.ndarray) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(column.tobytes())
    return digest.hexdigest()[:16]


def read_digests(path: Path) -> Digests:
    """What :func:`write_digests` wrote. Raises :class:`UserError`: not there, or damaged."""
    if not Path(path).exists():
        raise UserError(
            f"There are no digests at {path} to compare with; write them with `starprompt "
            "digests --write`."
        )
    try:
        return Digests.model_validate(read_json(path))
    except ValidationError as error:
        raise invalid_file(path, error) from error
    except ValueError as error:
        raise UserError(
            f"{path} is not a file of digests ({error}); write it again with `starprompt digests "
            "--write`."
        ) from error


def write_digests(path: Path, digests: Digests) -> None:
    """Keep digests for other machines to compare with."""
    write_json(path, digests.model_dump())


def differences(expected: Digests, found: Digests) -> list[str]:
    """Where runs differ from what is expected of them, one sentence a run; empty if nowhere."""
    said = []
    for name in sorted(expected.runs.keys() | found.runs.keys()):
        if name not in found.runs:
            said.append(f"{name}: there are digests of this run, but it is not in the experiment")
        elif name not in expected.runs:
            said.append(f"{name}: there are no digests of this run to compare with")
        elif text := _run_difference(expected.runs[name], found.runs[name]):
            said.append(f"{name}: {text}")
    return said


def _run_difference(expected: RunDigest, found: RunDigest) -> str:
    if len(expected.tasks) != len(found.tasks):
        return f"{len(found.tasks)} evaluations, not {len(expected.tasks)}"
    pairs = list(zip(expected.tasks, found.tasks, strict=True))
    answers = [i for i, (a, b) in enumerate(pairs) if a.predictions != b.predictions]
    scores = [i for i, (a, b) in enumerate(pairs) if a.scores != b.scores]
    if answers:
        return (
            f"predicted classes differ after task {answers[0] + 1} and in {len(answers)} of "
            f"{len(pairs)} evaluations; final average accuracy {found.final_average_accuracy:.2f}, "
            f"not {expected.final_average_accuracy:.2f}"
        )
    if scores:
        return (
            f"the same predicted classes, but other scores after task {scores[0] + 1} and in "
            f"{len(scores)} of {len(pairs)} evaluations"
        )
    if expected.file != found.file and expected.writer == found.writer:
        return "the same predictions, but not the same bytes in predictions.parquet"
    return ""


def other_versions(expected: Digests, found: Digests) -> str:
    """Libraries whose version differs, as text; empty where all are the same."""
    return _difference(found.versions, expected.versions)


def _difference(own: Mapping[str, str], others: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {version} (not {others.get(name)})"
        for name, version in own.items()
        if others.get(name) != version
    )
