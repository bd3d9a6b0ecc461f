"""The first stage: whose contexts learn, what its loss holds, what it reads."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from starprompt.data.stream import TaskData, TaskStream
from starprompt.method.first_stage import FirstStage
from tests.helpers.small_stream import learn, make
from tests.helpers.stages import FIRST


def test_contexts_of_the_past_and_the_future_do_not_move(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **FIRST)
    start = learner.contexts.clone()
    learn(learner, stream.tasks[0])
    after_first, keys_after_first = learner.contexts.clone(), learner.keys.clone()
    learn(learner, stream.tasks[1])
    assert not torch.equal(after_first[:2], start[:2])
    assert torch.equal(learner.contexts[:2], after_first[:2])
    assert torch.equal(learner.keys[:2], keys_after_first[:2])
    assert torch.equal(learner.contexts[4:], start[4:])
    assert not torch.equal(learner.contexts[2:4], start[2:4])


def test_keys_are_unit_vectors_of_the_prompts_own_text(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **FIRST)
    learn(learner, stream.tasks[0])
    torch.testing.assert_close(learner.keys[:2].norm(dim=-1), torch.ones(2))
    tokens = learner.tokens
    uncut = learner.clip.encode_prompts(tokens.with_context(learner.contexts), tokens.eot)
    torch.testing.assert_close(F.normalize(uncut, dim=-1)[:2], learner.keys[:2])


def test_the_first_stage_reads_no_image(
    stream: TaskStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in learning nor in remembering, testing and being looked at: features suffice."""

    def refuse(data: TaskData, chunk: Tensor) -> Tensor:
        raise AssertionError("an image was read")

    monkeypatch.setattr(TaskData, "_read", refuse)
    learner = make(FirstStage, stream, **FIRST)
    for task in stream.tasks:
        learn(learner, task)
        for test in stream.test_tasks[: task.index + 1]:
            for batch in test.batches(64, inputs=learner.test_inputs):
                assert batch.images is None
                learner.predict(batch)
        learner.diagnostics(task)
    with pytest.raises(AssertionError, match="an image was read"):
        next(iter(stream.tasks[0].train.batches(4)))


def test_no_orthogonality_term_at_the_first_task(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **FIRST)
    assert all(step["orthogonality"] == 0 for step in learn(learner, stream.tasks[0]))
    assert all(step["orthogonality"] > 0 for step in learn(learner, stream.tasks[1]))


def test_replay_helps_nobody_that_forbids_it(stream: TaskStream) -> None:
    learner: Any = make(FirstStage, stream, **{**FIRST, "replay": False})
    learn(learner, stream.tasks[0])
    assert learner.mixtures == []
    assert learner.parameter_counts()["stored"] == 0
