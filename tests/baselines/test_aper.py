"""APER: class means of frozen and adapted features, side by side."""

import torch

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn, small_stream


def test_a_first_session_of_one_class_leaves_the_frozen_vit(stream: TaskStream) -> None:
    one = small_stream([1, 2, 7])
    learner = build_competitor("aper", one)
    losses = learn(learner, one.tasks[0])
    assert [step["loss"] for step in losses] == [0.0] * len(losses)
    learn(learner, one.tasks[1])
    frozen, adapted = learner.features(images_of(learner, one, 1)).chunk(2, dim=1)
    torch.testing.assert_close(adapted, frozen)
