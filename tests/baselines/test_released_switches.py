"""The switches between a paper, its released code and this project, without golden vectors."""

from typing import Any

import pytest

from baselines.dualprompt import DualPrompt
from baselines.l2p import L2P
from starprompt.continual.evaluation import evaluate
from starprompt.data.stream import TaskStream
from tests.helpers.small_stream import learn, make


@pytest.mark.parametrize("kind", [L2P, DualPrompt])
def test_with_a_vote_only_images_of_one_task_decide_together(
    kind: type[L2P] | type[DualPrompt], stream: TaskStream
) -> None:
    """Eight of a task's twelve test images have one choice of prompts, the other four theirs."""
    layers: dict[str, Any] = {"e_layers": (2, 3), "e_length": 2} if kind is DualPrompt else {}
    vote: dict[str, Any] = {"batch_vote": True, "voters": 8}
    learner = make(kind, stream, epochs=1, batch_size=16, lr=0.3, **vote, **layers)
    for task in stream.tasks[:2]:
        learn(learner, task)
    evaluation = evaluate(learner, stream.tasks[1], stream.test_tasks, where="here")
    for part in evaluation.selections:
        table = part.to_pandas()
        choices = table.groupby("image_id", sort=False)["prompt"].apply(tuple)
        assert len(choices) == 12
        assert choices.iloc[:8].nunique() == choices.iloc[8:].nunique() == 1


@pytest.mark.parametrize("kind", [L2P, DualPrompt])
def test_a_head_starts_at_zero_or_as_linear_does(
    kind: type[L2P] | type[DualPrompt], stream: TaskStream
) -> None:
    layers: dict[str, Any] = {"e_layers": (2, 3)} if kind is DualPrompt else {}
    assert not make(kind, stream, **layers).head.weight.any()
    assert make(kind, stream, head_start="uniform", **layers).head.weight.any()
