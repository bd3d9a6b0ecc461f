"""LAE: a moving average of modules, an ensemble of two, and modules that wait for the head."""

import torch

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def _values(modules: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in modules.parameters()]


def test_the_first_task_is_taken_over_whole_and_later_ones_in_part(stream: TaskStream) -> None:
    learner = build_competitor("lae", stream, epochs=1, decay=0.75)
    learn(learner, stream.tasks[0])
    pairs = zip(_values(learner.offline), _values(learner.online), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)
    before = _values(learner.offline)
    learner.begin_task(stream.tasks[1])
    learner.begin_epoch(5)
    learner.train_step(next(iter(stream.tasks[1].train.batches(16))))
    moved = zip(before, _values(learner.online), _values(learner.offline), strict=True)
    for old, new, mean in moved:
        torch.testing.assert_close(mean, 0.75 * old + 0.25 * new)


def test_modules_wait_for_the_head_from_the_second_task_on(stream: TaskStream) -> None:
    learner = build_competitor("lae", stream, freeze_epochs=1)
    learner.begin_task(stream.tasks[0])
    learner.begin_epoch(0)
    assert all(p.requires_grad for p in learner.online.parameters())
    learner.end_task(stream.tasks[0])
    learner.begin_task(stream.tasks[1])
    for epoch, learns in ((0, False), (1, True)):
        learner.begin_epoch(epoch)
        assert all(p.requires_grad is learns for p in learner.online.parameters())
    assert not any(p.requires_grad for p in learner.offline.parameters())


def test_the_larger_probability_of_both_copies_answers(stream: TaskStream) -> None:
    learner = build_competitor("lae", stream, epochs=1)
    for task in stream.tasks[:2]:
        learn(learner, task)
    with torch.no_grad():
        for parameter in learner.offline.parameters():
            parameter.add_(0.3)
    batch = images_of(learner, stream, 0, 1)
    images = learner.setting.vit_normalisation(batch.images)
    with torch.no_grad():
        one, other = (
            learner.logits(images, modules)[:, :4].softmax(1)
            for modules in (learner.online, learner.offline)
        )
    answers = learner.predict(batch)
    assert torch.equal(answers, torch.where(one > other, one, other))
    assert (answers.sum(1) >= 1 - 1e-6).all()
    assert not torch.equal(one, other)
