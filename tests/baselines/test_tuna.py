"""TUNA: the least uncertain adapter beside the universal one, margins, and shrunken means."""

import pytest
import torch
import torch.nn.functional as F

from starprompt.data.stream import TaskStream
from starprompt.replay.statistics import ClassGaussians
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


@pytest.mark.parametrize(
    ("shrink", "expected"),
    [
        ("none", [1, 1, 1, 1]),
        ("by_task", [0.95, 0.95, 1.0, 1.0]),
        ("released", [0.95, 0.9, 0.9, 0.85]),
    ],
)
def test_means_shrink_by_task_or_as_released(
    shrink: str, expected: list[float], stream: TaskStream
) -> None:
    """Released: t = class // -2, which is 0, -1, -1, -2 for classes 0 to 3; b = 2 tasks."""
    learner = build_competitor("tuna", stream, shrink=shrink)
    learner.task = 1
    learner.gaussians = ClassGaussians(torch.zeros(4, 96), torch.zeros(4, 96, 96))
    assert learner.mean_factors(2).tolist() == pytest.approx(expected)


def test_a_new_adapter_starts_as_the_one_before(stream: TaskStream) -> None:
    learner = build_competitor("tuna", stream, epochs=1, align_epochs=0)
    learn(learner, stream.tasks[0])
    learner.begin_task(stream.tasks[1])
    old, new = learner.adapters[0].state_dict(), learner.adapters[1].state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert any(tensor.any() for name, tensor in old.items() if "up" in name)


def test_the_margin_is_taken_off_the_labels_cosine_alone(stream: TaskStream) -> None:
    learner = build_competitor("tuna", stream, margin=0.1, scale=10.0, orthogonality=0.0)
    learner.begin_task(stream.tasks[0])
    batch = next(iter(stream.tasks[0].train.batches(16)))
    with torch.no_grad():
        features = learner.features(batch, learner.adapters[0].eval())
        cosines = F.cosine_similarity(features[:, None], learner.head[None], dim=-1)
        cosines[torch.arange(16), batch.labels] -= 0.1
        expected = F.cross_entropy(10 * cosines, batch.labels)
    learner.adapters[0].eval()
    found = learner.train_step(batch)["cross_entropy"]
    assert found.item() == pytest.approx(expected.item(), rel=0.02), "but for dropout"


@pytest.mark.parametrize("universal", ["merged", "last"])
def test_answers_are_those_of_the_least_uncertain_adapter_and_the_universal_one(
    universal: str, stream: TaskStream
) -> None:
    learner = build_competitor("tuna", stream, universal=universal)
    for task in stream.tasks[:2]:
        learn(learner, task)
    batch = images_of(learner, stream, 0, 1)
    answers = learner.predict(batch)
    with torch.no_grad():
        own = [learner.answers(batch, adapters) for adapters in learner.adapters[:2]]
        shared = learner.answers(
            batch, learner.universal if universal == "merged" else learner.adapters[1]
        )
    entropy = torch.stack([torch.special.entr(a).sum(1) for a in own])
    chosen = entropy.argmin(0)
    assert learner.last_selection.chosen[:, 0].tolist() == chosen.tolist()
    expected = torch.where(chosen[:, None] == 0, own[0], own[1]) + shared
    torch.testing.assert_close(answers, expected)
    torch.testing.assert_close(answers.sum(1), torch.full((len(batch),), 2.0))
