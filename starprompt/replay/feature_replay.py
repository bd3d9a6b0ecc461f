"""Generative replay in feature space: batches drawn from the mixtures of all classes seen."""

from collections.abc import Iterator

import torch
from torch import Tensor

from starprompt.replay.mixture import Mixtures


def replay_epoch(
    mixtures: Mixtures,
    samples: int,
    batch_size: int,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of replay: ``samples`` fresh draws a class, shuffled, in batches.

    Yields features (B, d) and labels (B,) int64; class k of the mixtures is label k. Fresh in
    every epoch, as in the released code (``create_features_dataset``).
    """
    yield from shuffled_batches(mixtures.sample(samples, generator), batch_size, generator)


def shuffled_batches(
    samples: Tensor, batch_size: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples (K, n, d) of K classes in random order: features (B, d) and labels (B,) int64."""
    drawn = samples.flatten(0, 1)
    classes = torch.arange(len(samples), device=drawn.device)
    labels = classes.repeat_interleave(samples.shape[1])
    shuffled = torch.randperm(len(labels), generator=generator, device=drawn.device)
    for rows in shuffled.split(batch_size):
        yield drawn[rows], labels[rows]
