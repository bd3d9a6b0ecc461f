"""The record of a run: the only thing that tables, figures and analyses read.

A run's folder is ``results/runs/<config>/<dataset>/<method>/seed<seed>/`` and holds
``record.json`` (this schema), ``predictions.parquet``, ``selection.parquet``,
``diagnostics.safetensors`` and ``checkpoint.safetensors``. The two tables' columns are named here
as well; docs/analysis.md says what a method's diagnostics hold.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from starprompt.errors import UserError
from starprompt.files import (
    SEAL,
    read_text,
    read_trouble,
    says_damage,
    sealed,
    sha256_file,
    unsealed,
    write_json,
)
from starprompt.record.metrics import ROUNDING, Metrics, contradiction
from starprompt.record.origins import NOTE
from starprompt.record.run_files import LARGE_FILES, RECORD, named_run

SCHEMA_VERSION = 1
#: largest record that is read, in bytes: a hundred tasks of a thousand epochs are a tenth of it
MOST_RECORD = 200_000_000

#: predictions.parquet: one row a test image and evaluation. `after_task` counts from 0.
PREDICTION_COLUMNS = {
    "image_id": "int32",
    "task": "int16",
    "label": "int16",
    "prediction": "int16",
    "score": "float32",
    "after_task": "int16",
}
#: selection.parquet: one row a test image, prompted layer, prompt chosen there and evaluation.
#: ``chosen_class`` is -1 unless the prompt is a class's own, ``chosen_task`` unless it is a task's;
#: both are -1 for a prompt of a shared pool. ``prompt`` is its index in any case, ``weight`` its
#: share of the image's prompting in the layer.
SELECTION_COLUMNS = {
    "image_id": "int32",
    "after_task": "int16",
    "layer": "int8",
    "true_class": "int16",
    "chosen_class": "int16",
    "similarity": "float32",
    "prompt": "int16",
    "chosen_task": "int16",
    "weight": "float32",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class MethodRecord(_Part):
    """Which method ran and with what."""

    name: str
    title: str
    learner: str = Field(description="module:Class that ran")
    hyperparameters: dict[str, Any]


class StreamRecord(_Part):
    """The stream as this seed ordered it. All labels elsewhere are stream labels."""

    dataset: str
    title: str
    seed: int
    class_names: list[str] = Field(description="in stream order")
    class_order: list[int] = Field(description="order[y] is the stream label of source label y")
    task_of_class: list[int] = Field(description="evaluation task of each stream label")
    train_counts: list[int] = Field(description="training images of each evaluation task")
    test_counts: list[int] = Field(description="test images of each evaluation task")
    data_digest: str


class TaskTimes(_Part):
    """Seconds of one trained task, and what a step of it computes."""

    train: float
    end: float
    evaluate: float
    steps: int
    step_operations: int = Field(
        default=0,
        description="floating-point, of one step of a whole batch; 0 where nothing learns by steps",
    )

    @property
    def operations_a_second(self) -> float | None:
        """Sustained while training, input included; None where nothing was counted."""
        counted = self.step_operations * self.steps
        return counted / self.train if counted and self.train > 0 else None


class EpochLosses(_Part):
    """Mean losses of one epoch, by the names that train_step gave."""

    task: int
    epoch: int
    losses: dict[str, float]


class RunRecord(_Part):
    """One run, whole. `accuracy[t][i]`: percent right on task i's test set after trained task t,
    over all classes seen by then; None where i was not yet seen."""

    schema_version: int = SCHEMA_VERSION
    config: str
    method: MethodRecord
    stream: StreamRecord
    accuracy: list[list[float | None]]
    metrics: Metrics
    times: list[TaskTimes]
    losses: list[EpochLosses]
    parameters: dict[str, int] = Field(
        description='numbers, after the last task: "trained" parameters; "stored" beside them, of '
        'statistics and copies; "samples", images kept; "operations", floating-point, to predict '
        "one image"
    )
    backbones: dict[str, dict[str, str]] = Field(
        description='{"vit": {"name", "digest"}, "clip": {...}}; empty for one not used'
    )
    keys: dict[str, str] | None = Field(description='{"method", "digest"} of the first stage')
    device: dict[str, Any]
    peak_memory_bytes: int
    versions: dict[str, str]
    git_revision: str
    started: str
    finished: str
    attempts: int = Field(description="how many processes it took: 1 if undisturbed")
    fingerprint: str = Field(description="digest of all that the result depends on")
    method_source: str = Field(
        default="",
        description="digest of the code of the method and of what it is made from, without "
        "comments; empty in older records. The result's validity does not depend on it",
    )
    digests: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of the run's other files by name; empty in older records",
    )
    extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "RunRecord":
        stream = self.stream
        tasks = len(stream.test_counts)
        if any(len(row) != tasks for row in self.accuracy):
            raise ValueError(f"every row of accuracy must have {tasks} entries, one a task")
        if len(self.accuracy) not in (1, tasks):
            raise ValueError(f"accuracy has {len(self.accuracy)} rows for {tasks} tasks")
        joint = len(self.accuracy) == 1
        for t, row in enumerate(self.accuracy):
            for i, value in enumerate(row):
                if (value is not None) != (joint or i <= t):
                    raise ValueError(f"accuracy[{t}][{i}] is {value}: only tasks seen have one")
                if value is not None and not 0 <= value <= 100 + ROUNDING:
                    raise ValueError(f"accuracy[{t}][{i}] is {value}, not within 0 to 100")
        if len(self.times) != len(self.accuracy):
            raise ValueError(f"times has {len(self.times)} entries, accuracy {len(self.accuracy)}")
        if len(stream.train_counts) != tasks or min(stream.test_counts, default=0) < 1:
            raise ValueError("train_counts and test_counts must say how many images each task has")
        classes = len(stream.class_names)
        if len(stream.task_of_class) != classes:
            raise ValueError("task_of_class and class_names differ in length")
        if any(not 0 <= task < tasks for task in stream.task_of_class):
            raise ValueError(f"task_of_class names a task outside 0 to {tasks - 1}")
        if (found := contradiction(self.metrics, self.accuracy, stream.test_counts)) is not None:
            raise ValueError(found)
        return self


def write_record(path: Path, record: RunRecord) -> None:
    """Check and write a record, atomically, with a digest of itself."""
    value = RunRecord.model_validate(record.model_dump()).model_dump(mode="json")
    write_json(path, sealed(value))


def read_record(path: Path) -> RunRecord:
    """Read and check ``record.json``.

    Checked are the schema, the record's own digest, the ranges and shapes of its numbers, the
    metrics against the accuracy matrix, and data set, method and seed against the folder where
    that is a run's. Raises :class:`UserError` naming file and fault; also when it is missing.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"There is no record at {path}: the run has not finished; run it.")
    try:
        value = json.loads(read_text(path, MOST_RECORD))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not a JSON record ({error}); remove it and run again."
        ) from error
    if isinstance(value, dict) and value.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path} has record schema {value.get('schema_version')!r}, but this version "
            f"reads {SCHEMA_VERSION}; run it again."
        )
    try:
        if isinstance(value, dict) and SEAL in value:  # records of before have none
            value = unsealed(value)
    except ValueError:
        raise UserError(
            f"{path} was changed after it was written; remove it and run again."
        ) from None
    try:
        record = RunRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(
            f"{path} is not a valid record: {where}: {first['msg']}; remove it and run again."
        ) from error
    found = (record.stream.dataset, record.method.name, record.stream.seed)
    if (expected := named_run(path.parent)) is not None and expected != found:
        raise UserError(
            f"{path} is the record of {_run(found)}, but lies in the folder of "
            f"{_run(expected)}; remove it and run again."
        )
    return record


def checked_file(path: Path, record: RunRecord | None = None) -> Path:
    """``path``, a file of a run, after its digest was compared with what the record says.

    record  the run's; read from beside the file when None

    Raises :class:`UserError` when the file is missing or not the one that the run left. Records of
    earlier versions have no digests; of theirs only the presence is checked.
    """
    if record is None:
        record = read_record(path.with_name(RECORD))
    expected = record.digests.get(path.name)
    try:
        found = sha256_file(path)
    except OSError as error:
        if not says_damage(error):
            raise read_trouble(path, error) from error
        raise UserError(
            f"{path} cannot be read ({error.strerror}); {_mend(path, missing=True)}."
        ) from error
    if expected is not None and found != expected:
        raise UserError(
            f"{path} is not the file that its run wrote (its digest differs from the "
            f"record's); {_mend(path)}."
        )
    return path


def _mend(path: Path, missing: bool = False) -> str:
    """How a run gets its file ``path`` again."""
    if not path.with_name(NOTE).is_file():
        return "remove the run's folder and run it again"
    archive = "its archive"
    if missing and path.name in LARGE_FILES:
        archive = "an archive made with `starprompt records export --checkpoints`"
    return f"the run was made elsewhere: remove its folder and import {archive}"


def _run(run: tuple[str, str, int]) -> str:
    dataset, method, seed = run
    return f"{method} on {dataset}, seed {seed}"
