"""Both stages on a small stream, with few epochs."""

from pathlib import Path
from typing import Any

from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskStream
from starprompt.method.first_stage import FirstStage
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import make

TASKS = [2, 2, 6]
FIRST = {"epochs": 3, "batch_size": 16, "replay_epochs": 2, "replay_samples": 16, "lr": 0.01}
SECOND = {"epochs": 2, "batch_size": 16, "replay_epochs": 2, "replay_samples": 16}


def build_stage(kind: type[Learner], stream: TaskStream, keys: Path, **hp: Any) -> Any:
    if kind is FirstStage:
        return make(FirstStage, stream, **{**FIRST, **hp})
    return make(StarPrompt, stream, keys, **{**SECOND, **hp})
