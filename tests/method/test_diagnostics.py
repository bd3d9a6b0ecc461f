"""What both stages leave for analyses, and that asking for it changes nothing."""

from pathlib import Path

import torch

from starprompt.data.stream import TaskStream
from starprompt.method.diagnostics import first_stage_diagnostics, second_stage_diagnostics
from starprompt.method.first_stage import FirstStage
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import learn, make
from tests.helpers.stages import SECOND


def test_the_first_stage_leaves_keys_of_the_seen_and_the_tasks_own_features(
    stream: TaskStream,
) -> None:
    learner = make(FirstStage, stream, epochs=1, replay_epochs=0)
    learn(learner, stream[0])
    found = first_stage_diagnostics(learner, stream[0])  # type: ignore[arg-type]
    assert torch.equal(found["keys"], learner.keys[:2])  # type: ignore[attr-defined]
    assert found["train.labels"].unique().tolist() == [0, 1]
    expected = stream[0].train.features("clip").half()
    assert torch.equal(found["train.features"], expected)


def test_the_second_stage_leaves_norms_of_each_layer_and_counts_the_last_task(
    stream: TaskStream, keys: Path
) -> None:
    learner = make(StarPrompt, stream, keys, **SECOND)
    for task in stream.tasks:
        learn(learner, task)
        before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
        found = second_stage_diagnostics(learner, task)  # type: ignore[arg-type]
        assert found["keys"].shape[0] == task.seen_classes
        assert found["injected_norm"].shape == found["attention_norm"].shape == (4,)
        assert (found["injected_norm"] > 0).all()
        assert len(found["train.features"]) == len(task.train)
        assert ("train_operations" in found) == (task is stream.tasks[-1])
        after = learner.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)
    forward = 4 * 2 * 12 * 17 * 96**2  # products of four blocks, 17 tokens of width 96
    assert found["train_operations"] > 2 * forward, "a forward and a backward pass"
