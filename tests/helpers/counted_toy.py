"""The toy learner, which counts its steps and can be hit at one of them."""

import os
import signal
from typing import Any

from starprompt.continual.learner import Learner
from tests.helpers.continual_toy import ToyLearner


class Counted(ToyLearner):
    """Counts its steps, over all processes that share the list, and can be hit at one of them."""

    taken: list[int]
    hit_at: int
    hit_with: Any

    def train_step(self, batch: Any) -> Any:
        self.taken.append(self.seen)
        if len(self.taken) == self.hit_at:
            self.hit_with()
        return super().train_step(batch)


def counted(taken: list[int], hit_at: int = 0, hit_with: Any = None) -> type[Learner]:
    """The toy under its own name, which ``hit_with`` hits in its ``hit_at``-th step of all."""
    own = {"taken": taken, "hit_at": hit_at, "hit_with": staticmethod(hit_with)}
    return type("ToyLearner", (Counted,), {**own, "__module__": ToyLearner.__module__})


def terminate() -> None:
    """Twice, as shells and schedulers pass it on."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
