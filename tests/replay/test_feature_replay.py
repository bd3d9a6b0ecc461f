"""An epoch of replayed features: every class equally often, in the order asked."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.replay.feature_replay import replay_epoch
from starprompt.replay.mixture import Mixtures, fit_mixtures
from tests.helpers.mixtures import clustered


@given(classes=st.integers(1, 4), samples=st.integers(2, 9), size=st.integers(1, 12))
def test_the_same_order_whatever_is_drawn(classes: int, samples: int, size: int) -> None:
    mixtures = Mixtures(
        torch.ones(classes, 1), torch.zeros(classes, 1, 3), torch.ones(classes, 1, 3)
    )
    epochs = [list(replay_epoch(mixtures, samples, size, order_seed=7)) for _ in range(2)]
    labels = [torch.cat([y for _, y in epoch]) for epoch in epochs]
    assert torch.equal(labels[0], labels[1])
    assert labels[0].bincount().tolist() == [samples] * classes
    drawn = [torch.cat([x for x, _ in epoch]) for epoch in epochs]
    assert not torch.equal(drawn[0], drawn[1]), "fresh draws in every epoch"
    assert all(len(x) == size for x, _ in epochs[0][:-1])


def test_an_order_of_its_own_leaves_the_draws_alone() -> None:
    """The switch moves no random number that the draws come from."""
    mixtures = Mixtures(torch.ones(3, 1), torch.zeros(3, 1, 2), torch.ones(3, 1, 2))
    torch.manual_seed(0)
    plain = torch.cat([x for x, _ in replay_epoch(mixtures, 20, 8)])
    torch.manual_seed(0)
    ordered = torch.cat([x for x, _ in replay_epoch(mixtures, 20, 8, order_seed=1)])
    assert torch.equal(plain.sort(dim=0).values, ordered.sort(dim=0).values)


def test_an_epoch_of_replay_holds_every_class_equally_often() -> None:
    mixtures = Mixtures.concatenate([fit_mixtures(clustered([20, 30]), 2).mixtures] * 2)
    batches = list(replay_epoch(mixtures, samples=10, batch_size=16))
    labels = torch.cat([y for _, y in batches])
    assert [len(y) for _, y in batches] == [16, 16, 8]
    assert labels.bincount().tolist() == [10, 10, 10, 10]
    assert labels[:10].unique().numel() > 1  # shuffled
