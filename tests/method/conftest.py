"""A small stream and a finished first stage, which tests of both stages share."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from starprompt.data.stream import TaskStream
from starprompt.method.first_stage import FirstStage
from tests.helpers.small_stream import learn, make, small_stream
from tests.helpers.stages import FIRST, TASKS


@pytest.fixture(scope="session")
def stream() -> TaskStream:
    return small_stream(TASKS)


@pytest.fixture(scope="session")
def keys(stream: TaskStream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished first stage's folder."""
    folder = tmp_path_factory.mktemp("first-stage")
    learner = make(FirstStage, stream, **FIRST)
    for task in stream.tasks:
        learn(learner, task)
    save_file(
        {k: v.contiguous() for k, v in learner.state_dict().items()},
        folder / "checkpoint.safetensors",
    )
    return folder
