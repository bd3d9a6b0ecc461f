"""Seeds: every random number of a run follows from the run's seed and from where in it we are.

Generators are seeded again at the beginning of every task, never carried over from the task before:
that is why a run resumed at task t draws the numbers that an undisturbed one would have drawn.
"""

import hashlib
import json
import random
from numbers import Integral

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) from any sequence of names and numbers, e.g. ``(1993, "task", 3)``.

    Equal parts give equal seeds on every machine; different parts give unrelated ones.
    """
    plain = [int(part) if isinstance(part, Integral) else str(part) for part in parts]
    digest = hashlib.sha256(json.dumps(plain).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(*parts: int | str) -> int:
    """Seed Python's, NumPy's and torch's (every device's) global generators; return the seed."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return seed
