"""LwF: distillation towards the model as it was before the task, on old classes' logits alone."""

from typing import Any

import pytest
import torch

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import learn


@pytest.fixture
def learner(stream: TaskStream) -> Any:
    found = build_competitor("lwf", stream, epochs=1, temperature=4.0, weight=3.0)
    learn(found, stream.tasks[0])
    found.begin_task(stream.tasks[1])
    return found


def test_the_target_is_the_softened_answer_of_before(learner: Any, stream: TaskStream) -> None:
    (batch,) = stream.tasks[1].train.batches(1000)
    with torch.no_grad():
        for parameter in learner.net.parameters():
            parameter.add_(0.01)
        before = (learner.before(batch.images)[:, :2] / 4).softmax(1)
        logits = learner.net(batch.images)
        now = (logits[:, :2] / 4).log_softmax(1)
    expected = -(before * now).sum(1).mean()
    torch.testing.assert_close(learner.distillation(logits[:, :4], batch), expected)


def test_the_loss_is_cross_entropy_plus_the_weighted_distillation(
    learner: Any, stream: TaskStream
) -> None:
    batch = next(iter(stream.tasks[1].train.batches(16)))
    losses = learner.train_step(batch)
    expected = losses["cross_entropy"] + 3 * losses["distillation"]
    torch.testing.assert_close(losses["loss"], expected)
    assert losses["distillation"] > 0


def test_the_model_of_before_stays_and_the_first_task_has_none_to_keep(
    learner: Any, stream: TaskStream
) -> None:
    old = {name: tensor.clone() for name, tensor in learner.before.state_dict().items()}
    learner.train_step(next(iter(stream.tasks[1].train.batches(16))))
    assert all(torch.equal(old[name], t) for name, t in learner.before.state_dict().items())
    learner.begin_task(stream.tasks[0])
    (batch,) = stream.tasks[0].train.batches(1000)
    assert learner.distillation(learner.net(batch.images), batch) == 0
