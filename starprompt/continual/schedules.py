"""Learning-rate schedules, as factors per epoch."""

import math


def cosine_factor(epoch: int, epochs: int) -> float:
    """The learning rate's factor in ``epoch``: cos(99 pi e / (200 (K - 1))), 1 where K is 1.

    CODA-Prompt's schedule, which the released code uses (`utils/schedulers.py`).
    """
    return math.cos(99 * math.pi * epoch / (200 * (epochs - 1))) if epochs > 1 else 1.0


def half_cosine(epoch: int, epochs: int, rate: float, least: float = 0.0) -> float:
    """The learning rate in ``epoch``: from ``rate`` down to ``least`` after ``epochs`` by half a
    cosine, as PyTorch's ``CosineAnnealingLR`` and timm's ``CosineLRScheduler``."""
    return least + (rate - least) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def stepped(epoch: int, every: int, factor: float = 0.1) -> float:
    """The learning rate's factor in ``epoch``: times ``factor`` after ``every`` epochs."""
    return factor ** (epoch // every)
