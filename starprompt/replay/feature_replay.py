"""Generative replay in feature space: batches drawn from the mixtures of all classes seen."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from starprompt.replay.mixture import Mixtures

#: of the features drawn: "new" in every epoch, or the "same" in all, by the run's seed
ReplayOrder = Literal["new", "same"]


def replay_epoch(
    mixtures: Mixtures,
    samples: int,
    batch_size: int,
    generator: torch.Generator | None = None,
    order_seed: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of replay: ``samples`` fresh draws a class, shuffled, in batches.

    Yields features (B, d) and labels (B,) int64; class k of the mixtures is label k. Fresh in
    every epoch, as in the released code (``create_features_dataset``), which shuffles every epoch
    by the run's seed, and so in one order: ``order_seed`` does that. None: a new order each time.
    """
    yield from shuffled_batches(
        mixtures.sample(samples, generator), batch_size, generator, order_seed
    )


def shuffled_batches(
    samples: Tensor,
    batch_size: int,
    generator: torch.Generator | None = None,
    order_seed: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples (K, n, d) of K classes in random order: features (B, d) and labels (B,) int64.

    order_seed  makes the order depend on it and on the number of samples alone
    """
    drawn = samples.flatten(0, 1)
    classes = torch.arange(len(samples), device=drawn.device)
    labels = classes.repeat_interleave(samples.shape[1])
    if order_seed is None:
        shuffled = torch.randperm(len(labels), generator=generator, device=drawn.device)
    else:
        own = torch.Generator().manual_seed(order_seed)
        shuffled = torch.randperm(len(labels), generator=own).to(drawn.device)
    for rows in shuffled.split(batch_size):
        yield drawn[rows], labels[rows]
