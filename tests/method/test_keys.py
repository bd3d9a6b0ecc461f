"""Keys of the second stage: none before its class is seen, constant unless learned."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from starprompt.method.keys import FirstStageKeys
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import learn, make
from tests.helpers.stages import SECOND, build_stage


def test_a_key_not_yet_seen_can_not_be_read(keys: Path) -> None:
    ring = FirstStageKeys(keys, torch.device("cpu"))
    with pytest.raises(LookupError, match="key of class 0"):
        ring.upto(1)
    ring.reveal(4)
    assert ring.upto(4).shape == (4, ring.dim)
    with pytest.raises(LookupError, match="key of class 4"):
        ring.upto(5)
    with pytest.raises(LookupError):
        ring.reveal(2)
    with pytest.raises(LookupError):
        ring.reveal(11)


def test_future_keys_change_nothing(stream: TaskStream, keys: Path, tmp_path: Path) -> None:
    """The second stage after task 2 is the same whatever the first stage learned later."""
    from safetensors.torch import load_file

    state = load_file(keys / "checkpoint.safetensors")
    state["keys"][4:] = 0
    save_file(state, tmp_path / "checkpoint.safetensors")
    outcomes = []
    for folder in (keys, tmp_path):
        learner = build_stage(StarPrompt, stream, folder)
        for task in stream.tasks[:2]:
            learn(learner, task)
        outcomes.append(learner.state_dict())
    for name, tensor in outcomes[0].items():
        assert torch.equal(tensor, outcomes[1][name]), name


def test_missing_keys_are_named(stream: TaskStream, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no first-stage keys"):
        make(StarPrompt, stream, tmp_path, **SECOND)
    with pytest.raises(UserError, match="needs the keys"):
        make(StarPrompt, stream, None, **SECOND)


@pytest.mark.parametrize("source", ["template", "ensemble"])
def test_hand_written_keys_are_constant(source: str, stream: TaskStream) -> None:
    learner: Any = make(StarPrompt, stream, None, key_source=source, **SECOND)
    learn(learner, stream.tasks[0])
    before = learner.keys.upto(learner.seen).clone()
    learn(learner, stream.tasks[1])
    assert torch.equal(learner.keys.upto(learner.seen)[:2], before)


def test_learned_keys_drift(stream: TaskStream) -> None:
    """Free keys go on learning after their own task, past ones through the images they attract."""
    learner: Any = make(StarPrompt, stream, None, key_source="learned", **SECOND)
    learn(learner, stream.tasks[0])
    before = learner.keys.upto(learner.seen).clone()
    losses = learn(learner, stream.tasks[1])
    assert losses
    assert not torch.equal(learner.keys.upto(learner.seen)[2:4], before[:2])
    assert set(learner.state_dict()) >= {"free_keys"}
