"""Digests of runs' predictions: whether this machine's numbers are those of another, and if not,
which run and which task they first differ in.

An experiment with portable numerics has its digests in ``config/digests/NAME.json``. A run's
predictions after each task have two, of the predicted classes and of the scores behind them, so
that a rounding that changes no answer is distinguished from one that does.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from starprompt.errors import UserError, invalid_file
from starprompt.files import read_json, sha256_file, write_json
from starprompt.record.record import RunRecord, read_record
from starprompt.record.run_files import PREDICTIONS, RECORD
from starprompt.record.verify import verified_predictions

#: libraries and the interpreter whose versions decide how numbers are rounded
ROUNDING = (
    *("python", "torch", "torchvision", "timm", "open_clip_torch", "numpy"),
    *("scipy", "scikit-learn", "libc"),
)
#: those that digests and records of earlier versions do not name
ADDED = ("scipy", "scikit-learn")
UNKNOWN = "unknown"
#: what stands for a version that a run's environment did not say
_SAYS_NOTHING = (UNKNOWN, "not installed", "")

_Short = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TaskDigest(_Part):
    """Hex SHA-256, the first 16 digits, of one evaluation's columns in the order of its rows."""

    predictions: _Short = Field(description="image_id, task, label and prediction")
    scores: _Short


class RunDigest(_Part):
    """One run's predictions."""

    file: _Sha256 = Field(description="of predictions.parquet")
    writer: str = Field(description="library that wrote the file")
    final_average_accuracy: float
    tasks: list[TaskDigest] = Field(min_length=1, description="of the evaluation after each task")


class Digests(_Part):
    """The runs of an experiment by ``dataset/method/seed``, and what they were computed with."""

    experiment: str
    versions: dict[str, str]
    runs: dict[str, RunDigest] = Field(min_length=1)

    @field_validator("versions")
    @classmethod
    def _named(cls, versions: dict[str, str]) -> dict[str, str]:
        """A version of each of :data:`ROUNDING`; "unknown" where an earlier file names none."""
        versions = dict.fromkeys(ADDED, UNKNOWN) | versions
        if missing := [name for name in ROUNDING if name not in versions]:
            raise ValueError(f"there is no version of {', '.join(missing)}")
        return {name: versions[name] for name in [*ROUNDING, *versions.keys() - set(ROUNDING)]}


@dataclass(frozen=True)
class Difference:
    """What differs in one run.

    by_rounding  whether other libraries may be the cause: predicted classes or scores differ, and
                 nothing else does
    """

    text: str
    by_rounding: bool = False


def digest_runs(experiment: str, folders: Mapping[str, Path]) -> Digests:
    """Digests of an experiment's finished runs, given by name.

    Raises :class:`UserError` for a run that is missing, is another experiment's or contradicts its
    record, whose record says that it was not computed with portable numerics, or that other
    versions computed than the rest.
    """
    runs: dict[str, RunDigest] = {}
    versions: dict[str, str] = {}
    for name, folder in folders.items():
        record = read_record(folder / RECORD)
        if record.config != experiment:
            raise UserError(
                f"{folder} holds a run of the experiment {record.config!r:.100}, not of "
                f"{experiment}; remove it and run again."
            )
        about = record.device.get("numerics", {})
        if record.extra.get("numerics") != "portable":
            raise UserError(
                f"{folder} was not computed with numerics: portable, and only portable runs "
                "have digests that another processor can reproduce; set it and run again."
            )
        known = {**record.versions, "libc": about.get("libc", UNKNOWN)}
        own = {library: known.get(library, UNKNOWN) for library in ROUNDING}
        if versions and own != versions:
            raise UserError(
                f"{folder} was computed with {_difference(own, versions)}, unlike the runs "
                "before it; run all of them in one environment."
            )
        versions = own
        runs[name] = _digest_run(folder, record)
    return Digests(experiment=experiment, versions=versions, runs=runs)


def _digest_run(folder: Path, record: RunRecord) -> RunDigest:
    column, path = verified_predictions(folder, record), folder / PREDICTIONS
    tasks = []
    for after in np.unique(column["after_task"]):
        rows = column["after_task"] == after
        answers = [
            column[name][rows].astype("<i8") for name in ("image_id", "task", "label", "prediction")
        ]
        scores = column["score"][rows].astype("<f4")
        tasks.append(TaskDigest(predictions=_digest(*answers), scores=_digest(scores)))
    return RunDigest(
        file=sha256_file(path),
        writer=pq.read_metadata(path).created_by or UNKNOWN,
        final_average_accuracy=record.metrics.final_average_accuracy,
        tasks=tasks,
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


def differences(expected: Digests, found: Digests) -> list[Difference]:
    """Where runs differ from what is expected of them, one sentence a run; empty if nowhere."""
    unlike = []
    said: Difference | None
    for name in sorted(expected.runs.keys() | found.runs.keys()):
        if name not in found.runs:
            said = Difference("there are digests of this run, but it is not in the experiment")
        elif name not in expected.runs:
            said = Difference("there are no digests of this run to compare with")
        elif (said := _run_difference(expected.runs[name], found.runs[name])) is None:
            continue
        unlike.append(Difference(f"{name}: {said.text}", said.by_rounding))
    return unlike


def _run_difference(expected: RunDigest, found: RunDigest) -> Difference | None:
    if len(expected.tasks) != len(found.tasks):
        return Difference(f"{len(found.tasks)} evaluations, not {len(expected.tasks)}")
    pairs = list(zip(expected.tasks, found.tasks, strict=True))
    answers = [i for i, (a, b) in enumerate(pairs) if a.predictions != b.predictions]
    scores = [i for i, (a, b) in enumerate(pairs) if a.scores != b.scores]
    accuracies = found.final_average_accuracy, expected.final_average_accuracy
    accuracy = "final average accuracy {:.2f}, not {:.2f}".format(*accuracies)
    if answers:
        return Difference(
            f"predicted classes differ after task {answers[0] + 1} and in {len(answers)} of "
            f"{len(pairs)} evaluations; {accuracy}",
            by_rounding=True,
        )
    if not math.isclose(*accuracies, rel_tol=0, abs_tol=1e-9):
        return Difference(f"the same predicted classes, but {accuracy}")
    if scores:
        return Difference(
            f"the same predicted classes, but other scores after task {scores[0] + 1} and in "
            f"{len(scores)} of {len(pairs)} evaluations",
            by_rounding=True,
        )
    if expected.file != found.file and expected.writer == found.writer:
        return Difference("the same predictions, but not the same bytes in predictions.parquet")
    return None


def other_versions(expected: Digests, found: Digests) -> str:
    """Libraries whose version is known to differ, as text; empty where there are none."""
    unknown = unknown_versions(expected, found)
    known = {name: text for name, text in found.versions.items() if name not in unknown}
    return _difference(known, expected.versions)


def unknown_versions(expected: Digests, found: Digests) -> list[str]:
    """Libraries of :data:`ROUNDING` whose version one of the two sides does not say."""
    sides = expected.versions, found.versions
    return [n for n in ROUNDING if any(side[n].strip() in _SAYS_NOTHING for side in sides)]


def _difference(own: Mapping[str, str], others: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {version} (not {others.get(name)})"
        for name, version in own.items()
        if others.get(name) != version
    )
