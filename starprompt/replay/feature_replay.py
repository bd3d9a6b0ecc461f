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
    drawn = mixtures.sample(samples, generator).flatten(0, 1)
    labels = torch.arange(len(mixtures), device=drawn.device).repeat_interleave(samples)
    shuffled = torch.randperm(len(labels), generator=generator, device=drawn.device)
    for rows in shuffled.split(batch_size):
        yield drawn[rows], labels[rows]
