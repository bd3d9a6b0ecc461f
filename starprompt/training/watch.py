"""Watches a run for failure modes: hands the runner's tensors to the analyses as arrays."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from starprompt.analysis.failure_modes import (
    generation_collapse,
    residual_saturation,
    selection_confusion,
)
from starprompt.analysis.mixtures import Mixtures
from starprompt.config.thresholds import Thresholds, is_shown, sentence, shown
from starprompt.continual.evaluation import Evaluation
from starprompt.data.stream import Task

logger = logging.getLogger(__name__)


class SignatureWatch:
    """The runner's ``Watch``: measures after each task, warns, and sums up for the record."""

    def __init__(self, task_of_class: Sequence[int], thresholds: Thresholds, where: str) -> None:
        """task_of_class (C,) by stream label; ``where`` names the run in warnings."""
        self._task_of_class = np.asarray(task_of_class)
        self._thresholds = thresholds
        self._where = where

    def after_task(
        self,
        task: Task,
        evaluation: Evaluation,
        diagnostics: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
    ) -> dict[str, float]:
        """Failure modes of this task by name; those that the method can't show are left out."""
        # Left alone, BLAS takes every core for these small matrices and waits for its own threads.
        with threadpool_limits(torch.get_num_threads()):
            found = self._measured(task, evaluation, diagnostics, state)
        for name, value in found.items():
            if is_shown(name, value, self._thresholds):
                said = sentence(name, value, self._thresholds)
                logger.warning("%s: after task %d %s", self._where, task.index + 1, said)
        return found

    def _measured(
        self,
        task: Task,
        evaluation: Evaluation,
        diagnostics: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
    ) -> dict[str, float]:
        arrays = {name: tensor.float().cpu().numpy() for name, tensor in diagnostics.items()}
        found = residual_saturation(arrays)
        if evaluation.selections:
            chosen = pa.concat_tables(evaluation.selections)
            # Prompts that are no class's own can't be confused with another class's.
            chosen = chosen.filter(pc.field("chosen_class") >= 0)
            found |= selection_confusion(
                chosen["true_class"].to_numpy(),
                chosen["chosen_class"].to_numpy(),
                self._task_of_class,
                task.index,
            )
        if "mixtures.weights" in state and "train.features" in arrays:
            parts = (state[f"mixtures.{name}"] for name in ("weights", "means", "variances"))
            found |= generation_collapse(
                arrays["train.features"],
                arrays["train.labels"].astype(np.int64),
                Mixtures(*(part.float().cpu().numpy() for part in parts)),
            )
        return found

    def summary(self, by_task: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """For the record: the numbers of all tasks, and sentences for the failure modes shown."""
        if not any(by_task):
            return {}
        return {
            "signatures": {
                "tasks": [dict(values) for values in by_task],
                "thresholds": self._thresholds.model_dump(),
                "shown": shown(by_task, self._thresholds),
            }
        }
