"""Learning-rate schedules, as factors per epoch."""

import math


def cosine_factor(epoch: int, epochs: int) -> float:
    """The learning rate's factor in ``epoch``: cos(99 pi e / (200 (K - 1))), 1 where K is 1.

    CODA-Prompt's schedule, which the released code uses (`utils/schedulers.py`).
    """
    return math.cos(99 * math.pi * epoch / (200 * (epochs - 1))) if epochs > 1 else 1.0
