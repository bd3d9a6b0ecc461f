"""SLCA: means shrink, the head is restored, divergence is a sentence."""

import pytest
import torch

from starprompt.data.stream import TaskStream
from starprompt.errors import DivergedError
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import learn


def test_slcas_means_shrink_and_its_head_is_restored(stream: TaskStream) -> None:
    """Task t of T draws around its means times 0.9 + 0.1 (t + 1) / T."""
    learner = build_competitor("slca", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    means = learner.gaussians.means
    factor = torch.tensor([0.95, 0.95, 1.0, 1.0])[:, None]
    torch.testing.assert_close(learner.shrunk_gaussians().means, means * factor)
    unaligned = learner.net.head.weight.clone()
    assert not torch.equal(learner.head_for_prediction.weight, unaligned)
    learner.begin_task(stream.tasks[2])
    assert torch.equal(learner.head_for_prediction.weight, unaligned)


def test_slca_says_in_a_sentence_that_it_diverged(stream: TaskStream) -> None:
    learner = build_competitor("slca", stream, lr=1e12, epochs=1)
    with pytest.raises(DivergedError, match=r"SLCA's features became .* lower its lr"):
        learn(learner, stream.tasks[0])
