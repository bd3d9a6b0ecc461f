"""CGIL: tasks and classes that are too small, and switches that change what it learns."""

import copy
from dataclasses import replace

import pytest
import torch

from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn, small_stream


def test_cgil_learns_a_first_task_of_one_class() -> None:
    single = small_stream([1, 4, 5])
    learner = build_competitor("cgil", single)
    learn(learner, single.tasks[0])
    assert bool(learner.predict(images_of(learner, single, 0)).isfinite().all())
    learner = build_competitor("cgil", single, batch_statistics=True)
    with pytest.raises(UserError, match="batch_statistics need at least two classes"):
        learn(learner, single.tasks[0])


def test_cgil_refuses_a_class_of_one_image_by_its_name(stream: TaskStream) -> None:
    learner = build_competitor("cgil", stream)
    task = stream.tasks[0]
    few = copy.copy(task.train)
    few.labels = torch.tensor([0] * 5 + [1])
    with pytest.raises(UserError, match=f"generator for the class '{stream.info.class_names[1]}'"):
        learner.begin_task(replace(task, train=few))


def test_cgils_switches_change_what_it_learns(stream: TaskStream) -> None:
    released = build_competitor("cgil", stream)
    learn(released, stream.tasks[0])
    for switch in ({"batch_statistics": True}, {"posterior_noise": "deviation"}):
        other = build_competitor("cgil", stream, **switch)
        learn(other, stream.tasks[0])
        assert not torch.equal(other.keys, released.keys)
