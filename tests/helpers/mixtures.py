"""Features in clusters, for fits of mixtures."""

import numpy as np
import torch
from torch import Tensor


def clustered(counts: list[int], dim: int = 12, seed: int = 0) -> list[Tensor]:
    """Classes of three clusters each, far from the origin, with unequal dimensions."""
    rng = np.random.default_rng(seed)
    classes = []
    for n in counts:
        centres = 30 + 2 * rng.normal(size=(3, dim))
        spread = rng.uniform(0.3, 2, size=dim)
        x = centres[rng.integers(3, size=n)] + spread * rng.normal(size=(n, dim))
        classes.append(torch.tensor(x, dtype=torch.float32))
    return classes
