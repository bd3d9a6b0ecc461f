"""A finished run's files, as arrays and frames: all that analyses read."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from starprompt.analysis.mixtures import Mixtures
from starprompt.errors import UserError
from starprompt.record.record import RunRecord, checked_file, read_record
from starprompt.record.run_files import CHECKPOINT, DIAGNOSTICS, RECORD, SELECTION

Arrays = dict[str, np.ndarray]
#: columns of ``selection.parquet`` that analyses read
_SELECTION = ("image_id", "after_task", "layer", "true_class", "chosen_class")


@dataclass(frozen=True)
class RunFiles:
    """A run's folder. Every property raises :class:`UserError` naming a missing or damaged file."""

    folder: Path
    _checked: set[str] = field(default_factory=set, repr=False, compare=False)

    @cached_property
    def record(self) -> RunRecord:
        """``record.json``."""
        return read_record(self.folder / RECORD)

    @cached_property
    def selection(self) -> pd.DataFrame:
        """The choices of classes' own prompts in ``selection.parquet``; there may be none."""
        path = self.folder / SELECTION
        try:
            chosen = pd.read_parquet(checked_file(path, self.record), columns=list(_SELECTION))
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{path} is not a table of selections ({error}); remove the run's folder and "
                "run it again."
            ) from error
        return chosen[chosen["chosen_class"] >= 0]

    @cached_property
    def task_of_class(self) -> np.ndarray:
        """(C,) the task in which each stream label arrives."""
        return np.asarray(self.record.stream.task_of_class)

    def diagnostics(self, task: int) -> Arrays:
        """The arrays that the method left after ``task``, by name; see docs/analysis.md."""
        prefix = f"task{task}."
        with self._opened(DIAGNOSTICS) as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}

    @cached_property
    def mixtures(self) -> Mixtures | None:
        """The mixtures of all classes in the checkpoint; None for a method that stores none."""
        with self._opened(CHECKPOINT) as file:
            if "mixtures.weights" not in file.keys():  # noqa: SIM118 - not a mapping
                return None
            return Mixtures(
                *(file.get_tensor(f"mixtures.{name}") for name in ("weights", "means", "variances"))
            )

    def features(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Features (N, D) float64 and stream labels (N,) of all classes, each as it was at the
        end of its own task; split is "train" or "test". Empty where the method left none."""
        features, labels = [], []
        for task in range(len(self.record.times)):
            found = self.diagnostics(task)
            if f"{split}.features" in found:
                features.append(found[f"{split}.features"].astype(np.float64))
                labels.append(found[f"{split}.labels"].astype(np.int64))
        if not features:
            return np.empty((0, 0)), np.empty(0, np.int64)
        return np.concatenate(features), np.concatenate(labels)

    def _opened(self, name: str) -> safe_open:
        """A safetensors file of the run; its digest is checked when it is opened first."""
        path = self.folder / name
        if name not in self._checked:
            checked_file(path, self.record)
            self._checked.add(name)
        try:
            return safe_open(path, framework="np")
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{path} is missing or damaged ({error}); remove the run's folder and run it again."
            ) from error
