"""A linear probe that takes its time and writes down every step: a run that is there to be hit.

``SLOW_PROBE_PAUSE``  seconds that each step takes beside its arithmetic
``SLOW_PROBE_LOG``    file to which every step adds a line, before it is made

Neither is a hyperparameter: a hurried run and a slow one are the same run.
"""

import json
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from baselines.linear_probe import LinearProbe
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.machine.leases import describe_lease


class SlowProbe(LinearProbe):
    """Learns as its parent does, bit for bit."""

    def setup(self) -> None:
        super().setup()
        self.task = self.steps = 0

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        self.task = task.index

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self._note()
        time.sleep(float(os.environ.get("SLOW_PROBE_PAUSE", "0")))
        self.steps += 1
        return super().train_step(batch)

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | {"steps": torch.tensor(self.steps)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.steps = int(state["steps"])

    def task_state(self) -> dict[str, Tensor] | None:
        return (super().task_state() or {}) | {"steps": torch.tensor(self.steps)}

    def load_task_state(self, state: dict[str, Tensor]) -> None:
        self.steps = int(state["steps"])
        super().load_task_state({n: value for n, value in state.items() if n != "steps"})

    def _note(self) -> None:
        if "SLOW_PROBE_LOG" not in os.environ:
            return
        line = {
            "seed": self.setting.seed,
            "task": self.task,
            "step": self.steps,
            "process": os.getpid(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "devices": ",".join((describe_lease() or {"devices": ["none"]})["devices"]),
            "time": time.time(),
        }
        with Path(os.environ["SLOW_PROBE_LOG"]).open("a") as log:
            log.write(json.dumps(line) + "\n")
