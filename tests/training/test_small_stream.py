"""The small stream: even classes, real features, and steps that can be taken in parts."""

import torch
from sklearn.datasets import load_digits

from baselines.linear_probe import LinearProbe
from starprompt.training.small_stream import (
    images_of,
    learn,
    make,
    prepared,
    small_stream,
    take_steps,
)


def test_every_digit_has_as_many_scans_and_no_scan_is_in_both_splits() -> None:
    data = prepared()
    for split, count in ((data.train, 24), (data.test, 6)):
        assert torch.from_numpy(split.labels).bincount().tolist() == [count] * 10
    train, test = ({image.tobytes() for image in s.images} for s in (data.train, data.test))
    assert not train & test
    first_zero = load_digits().images[load_digits().target == 0][0]
    shown = data.train.images[0, 0].reshape(8, 8, 8, 8).mean((1, 3))
    assert abs(shown / 255 * 16 - first_zero).max() < 3


def test_tasks_have_the_sizes_that_are_asked_for() -> None:
    stream = small_stream([1, 3, 6])
    assert stream.info.task_ends == (1, 4, 10)
    assert [len(task.train) for task in stream.tasks] == [24, 72, 144]
    assert len(small_stream(joint=True).tasks) == 1


def test_steps_taken_in_parts_are_those_of_the_whole_task() -> None:
    stream = small_stream([2, 8])
    whole, parts = (make(LinearProbe, stream, epochs=2, batch_size=16) for _ in range(2))
    losses = learn(whole, stream.tasks[0])
    assert len(losses) == 2 * 3
    torch.manual_seed(0)
    parts.begin_task(stream.tasks[0])
    taken = [take_steps(parts, stream.tasks[0], first, last) for first, last in ((0, 2), (2, 5))]
    rest = take_steps(parts, stream.tasks[0], 5)
    assert [len(part) for part in (*taken, rest)] == [2, 3, 1]


def test_equal_learners_start_and_learn_alike() -> None:
    stream = small_stream([2, 8])
    one, other = (make(LinearProbe, stream, epochs=1, batch_size=16) for _ in range(2))
    assert learn(one, stream.tasks[0]) == learn(other, stream.tasks[0])


def test_images_of_tasks_come_in_the_order_of_the_tasks() -> None:
    stream = small_stream([2, 8])
    learner = make(LinearProbe, stream)
    batch = images_of(learner, stream, 1, 0)
    assert set(batch.labels[:48].tolist()) == set(range(2, 10))
    assert set(batch.labels[48:].tolist()) == {0, 1}
