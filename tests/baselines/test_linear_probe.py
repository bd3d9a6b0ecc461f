"""The linear probe: a head on frozen features, whose loss compares the task's own classes."""

import pytest
import torch
import torch.nn.functional as F

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def test_logits_are_a_linear_map_of_the_vits_features(stream: TaskStream) -> None:
    learner = build_competitor("linear-probe", stream)
    learner.begin_task(stream.tasks[1])
    batch = images_of(learner, stream, 0, 1)
    with torch.no_grad():
        features = learner.vit(learner.setting.vit_normalisation(batch.images))
        expected = features @ learner.head.weight.T + learner.head.bias
    torch.testing.assert_close(learner.predict(batch), expected[:, :4])


def test_the_loss_is_over_the_tasks_own_classes(stream: TaskStream) -> None:
    learner = build_competitor("linear-probe", stream)
    learner.begin_task(stream.tasks[1])
    batch = next(iter(stream.tasks[1].train.batches(16)))
    with torch.no_grad():
        expected = F.cross_entropy(learner.predict(batch)[:, 2:], batch.labels - 2)
    assert learner.train_step(batch)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_it_learns_the_digits_of_its_task(stream: TaskStream) -> None:
    learner = build_competitor("linear-probe", stream, epochs=20, lr=0.01)
    learn(learner, stream.tasks[0])
    batch = images_of(learner, stream, 0)
    assert (learner.predict(batch).argmax(1) == batch.labels).float().mean() >= 0.75
