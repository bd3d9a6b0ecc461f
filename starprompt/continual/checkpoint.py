"""What an unfinished run keeps, so that a killed one resumes after its last finished task.

A run's folder has a folder ``work`` until the record is written:

    work/run.json                 fingerprint, attempts, when the first one started
    work/under-way/               the task after these, where it was stopped (task_checkpoint.py)
    work/task-002/outcome.json    accuracy row, times, losses, digests of the files beside it
                  predictions.parquet, selection.parquet, diagnostics.safetensors
                  state.safetensors      what the learner's state_dict gave; latest task only

A task's folder appears by one rename when all in it is written: it is whole or not there. The
work folder stands apart from the run's results because Snakemake removes a failed job's results.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from torch import Tensor

from starprompt.continual import task_checkpoint
from starprompt.continual.evaluation import Evaluation
from starprompt.continual.prediction_files import PREDICTION_SCHEMA, SELECTION_SCHEMA, write_part
from starprompt.errors import UserError
from starprompt.files import atomic_path, read_json, sealed, sha256_file, unsealed, write_json
from starprompt.record.record import EpochLosses, TaskTimes
from starprompt.record.run_files import DIAGNOSTICS, PREDICTIONS, SELECTION

logger = logging.getLogger(__name__)

STATE = "state.safetensors"
OUTCOME = "outcome.json"
#: what every finished task leaves and the run's results are put together from
_PARTS = (PREDICTIONS, SELECTION, DIAGNOSTICS)


class TaskOutcome(BaseModel):
    """What is known of a finished task beside the files."""

    model_config = ConfigDict(extra="forbid")

    task: int
    fingerprint: str = ""
    accuracy: list[float | None]
    times: TaskTimes
    losses: list[EpochLosses]
    parameters: dict[str, int]
    peak_memory_bytes: int
    signatures: dict[str, float] = {}
    memory: dict[str, int] = {}
    digests: dict[str, str] = {}


class _Run(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    attempts: int
    started: str


class WorkFolder:
    """The finished tasks of an unfinished run. Open it under the run's lock."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open ``path``; what another fingerprint left there, or is damaged, is thrown away."""
        self.path = path
        self.outcomes: list[TaskOutcome] = []
        for leftover in path.glob(".*.part"):  # of a process killed while it wrote
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        before = _read_run(path / "run.json")
        if before is not None and before.fingerprint == fingerprint:
            self._run = before.model_copy(update={"attempts": before.attempts + 1})
            self._read_outcomes()
        else:
            if before is not None:
                logger.warning(
                    "%s was written by other code or with other settings: the run starts again "
                    "from its first task",
                    path,
                )
            self._run = _Run(fingerprint=fingerprint, attempts=1, started=now())
            shutil.rmtree(path, ignore_errors=True)
        if not self.outcomes and task_checkpoint.kept_place(path, 0, fingerprint) is None:
            shutil.rmtree(path, ignore_errors=True)
        write_json(path / "run.json", sealed(self._run.model_dump()))

    @property
    def fingerprint(self) -> str:
        """Of the run that these tasks belong to."""
        return self._run.fingerprint

    @property
    def attempts(self) -> int:
        """Processes that have worked on this run, this one included."""
        return self._run.attempts

    @property
    def started(self) -> str:
        """When the first of them began, ISO 8601 in UTC."""
        return self._run.started

    def task_folder(self, task: int) -> Path:
        """Where what a task leaves is kept until the run ends."""
        return self.path / f"task-{task:03d}"

    def parts(self, name: str) -> list[Path]:
        """The files ``name`` of all finished tasks, in order."""
        return [self.task_folder(task) / name for task in range(len(self.outcomes))]

    def save(
        self,
        outcome: TaskOutcome,
        state: Mapping[str, Tensor],
        evaluation: Evaluation,
        diagnostics: Mapping[str, Tensor],
    ) -> None:
        """Keep a finished task. Raises :class:`UserError` when the disk is full."""
        with atomic_path(self.task_folder(outcome.task)) as folder:
            folder.mkdir()
            write_part(folder / PREDICTIONS, evaluation.predictions, PREDICTION_SCHEMA)
            write_part(folder / SELECTION, evaluation.selections, SELECTION_SCHEMA)
            # not safetensors' own save_file, which hides a full disk in an error of its own
            (folder / STATE).write_bytes(pack_state(state))
            (folder / DIAGNOSTICS).write_bytes(pack_state(diagnostics))
            digests = {name: sha256_file(folder / name) for name in (*_PARTS, STATE)}
            known = {"digests": digests, "fingerprint": self.fingerprint}
            outcome = outcome.model_copy(update=known)
            write_json(folder / OUTCOME, sealed(outcome.model_dump(mode="json")))
        self.outcomes.append(outcome)
        shutil.rmtree(self.path / task_checkpoint.FOLDER, ignore_errors=True)
        if outcome.task:
            (self.task_folder(outcome.task - 1) / STATE).unlink(missing_ok=True)

    def state_path(self) -> Path:
        """The state after the last finished task."""
        return self.task_folder(len(self.outcomes) - 1) / STATE

    def _read_outcomes(self) -> None:
        while (folder := self.task_folder(len(self.outcomes))).is_dir():
            outcome = _read_outcome(folder, len(self.outcomes), self.fingerprint)
            if outcome is None:
                logger.warning("%s is damaged: its task is trained again", folder)
                break
            self.outcomes.append(outcome)
        if self.outcomes and not _intact(self.state_path(), self.outcomes[-1]):
            logger.warning("%s is damaged: the run starts again from its first task", self.path)
            self.outcomes.clear()


def pack_state(state: Mapping[str, Tensor]) -> bytes:
    """A learner's state as safetensors bytes, from any device.

    Raises :class:`UserError` when the state holds something else than tensors by name.
    """
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(
                f"state_dict returned {name!r} of type {type(value).__name__}; it must return "
                "tensors by name (numbers as tensors with no dimension)."
            )
    on_device = [name for name, value in state.items() if value.device.type != "cpu"]
    # cloned, because safetensors refuses tensors that share memory, as tied weights do
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    return safetensors.torch.save(plain, {"on_device": json.dumps(sorted(on_device))})


def load_state(path: Path, device: torch.device) -> dict[str, Tensor]:
    """The state in a file that :func:`pack_state` filled, each tensor where it was before.

    What lay on an accelerator comes back on ``device``, what lay on the CPU stays there. Raises
    :class:`UserError` naming the file when it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            on_device = set(json.loads((file.metadata() or {}).get("on_device", "[]")))
            return {
                name: file.get_tensor(name).to(device if name in on_device else "cpu")
                for name in file.keys()  # noqa: SIM118 - no mapping
            }
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} is missing or incomplete ({error}); remove the run's folder and run it again."
        ) from error


def merge_diagnostics(parts: Sequence[Path], final: Path) -> None:
    """Put the tasks' diagnostics into one file, each name behind ``task<number from 0>.``."""
    merged: dict[str, Tensor] = {}
    for task, part in enumerate(parts):
        tensors = safetensors.torch.load_file(part)
        merged |= {f"task{task}.{name}": tensor for name, tensor in tensors.items()}
    with atomic_path(final) as path:
        path.write_bytes(safetensors.torch.save(merged))


def now() -> str:
    """The present moment, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read_run(path: Path) -> _Run | None:
    try:
        return _Run.model_validate(unsealed(read_json(path)))
    except (OSError, ValueError):
        return None


def _read_outcome(folder: Path, task: int, fingerprint: str) -> TaskOutcome | None:
    """The outcome in a task's folder if it and its parts are as they were written, and its own."""
    try:
        outcome = TaskOutcome.model_validate(unsealed(read_json(folder / OUTCOME)))
        own = outcome.task == task and outcome.fingerprint == fingerprint
        return outcome if own and all(_intact(folder / name, outcome) for name in _PARTS) else None
    except (OSError, ValueError):
        return None


def _intact(path: Path, outcome: TaskOutcome) -> bool:
    return path.is_file() and sha256_file(path) == outcome.digests.get(path.name)
