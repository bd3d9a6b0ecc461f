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
from starprompt.files import write_json

SCHEMA_VERSION = 1

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
    model_config = ConfigDict(extra="forbid")


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


class Metrics(_Part):
    """Design's metrics, in percent; None where a stream of one task has none."""

    final_average_accuracy: float
    final_weighted_accuracy: float
    average_incremental_accuracy: float
    forgetting: float | None
    backward_transfer: float | None


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
    extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shapes(self) -> "RunRecord":
        tasks = len(self.stream.test_counts)
        if any(len(row) != tasks for row in self.accuracy):
            raise ValueError(f"every row of accuracy must have {tasks} entries, one a task")
        if len(self.stream.task_of_class) != len(self.stream.class_names):
            raise ValueError("task_of_class and class_names differ in length")
        return self


def write_record(path: Path, record: RunRecord) -> None:
    """Check and write a record, atomically."""
    write_json(path, RunRecord.model_validate(record.model_dump()).model_dump(mode="json"))


def read_record(path: Path) -> RunRecord:
    """Read and check ``record.json``.

    Raises :class:`UserError` naming file and field when it is missing, damaged or of another
    schema.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"There is no record at {path}: the run has not finished; run it."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a JSON record ({error}); remove it, run again.") from error
    if isinstance(value, dict) and value.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path} has record schema {value.get('schema_version')!r}, this version reads "
            f"{SCHEMA_VERSION}; run it again."
        )
    try:
        return RunRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(
            f"{path} is not a valid record: {where}: {first['msg']}; remove it, run again."
        ) from error
