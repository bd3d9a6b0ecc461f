"""RAPF: neighbours, shrunken covariances, and weights fused in the old ones' basis."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from baselines.rapf import fused, neighbours, shrunk
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor


def test_pairs_of_an_old_and_a_new_class_lie_nearer_than_the_threshold() -> None:
    old = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    new = torch.tensor([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
    # distances: old 0 to new: sqrt(0.8), 0, 2; old 1: sqrt(0.4), sqrt 2, sqrt 2
    assert neighbours(old, new, 0.7).tolist() == [[0, 1], [1, 0]]
    assert neighbours(old, new, 0.9).tolist() == [[0, 0], [0, 1], [1, 0]]
    assert neighbours(old[:0], new, 0.9).shape == (0, 2)


def test_covariances_gain_their_mean_diagonal_and_the_mean_of_other_entries_but_zeros() -> None:
    covariance = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 4.0, 3.0], [1.0, 3.0, 6.0]]])
    made = shrunk(covariance)[0]
    assert made.diagonal().tolist() == [6, 8, 10], "plus 4"
    others = (1 + 3) * 2 / 4
    assert made[0, 1].item() == others
    assert made[1, 2].item() == 3 + others
    assert torch.equal(shrunk(torch.eye(2)[None])[0], 2 * torch.eye(2))


@given(seed=st.integers(0, 30))
def test_the_way_to_new_weights_grows_with_the_change(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    old, new = torch.randn(2, 5, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(fused(old, new, 1.0), new)
    torch.testing.assert_close(fused(old, old, 0.3), old)
    basis = torch.linalg.svd(old).U
    before, after, found = basis.T @ old, basis.T @ new, basis.T @ fused(old, new, 0.2)
    way = (found - before) / (after - before)
    change = (after - before).abs()
    torch.testing.assert_close(way, (change / change.max() + 0.2).clamp_max(1))


def test_rates_fall_to_a_tenth_at_each_milestone(stream: TaskStream) -> None:
    learner = build_competitor("rapf", stream, epochs=6, lr=1.0, milestones=(2, 4))
    learner.begin_task(stream.tasks[0])
    rates = []
    for epoch in range(6):
        learner.begin_epoch(epoch)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_logits_are_cosines_of_adapted_features_to_texts(stream: TaskStream) -> None:
    learner = build_competitor("rapf", stream)
    learner.begin_task(stream.tasks[1])
    batch = next(iter(stream.tasks[1].train.batches(8, inputs=("features",))))
    adapted = batch.clip @ learner.adapter.weight.T
    cosines = F.cosine_similarity(adapted[:, None], learner.texts[None, :4], dim=-1)
    torch.testing.assert_close(learner.predict(batch), learner.clip.logit_scale * cosines.detach())
