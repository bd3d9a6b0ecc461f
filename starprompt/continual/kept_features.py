"""Keep a sample of the features that a method classifies, for the analyses of its run.

The names and shapes of all that is kept are in docs/analysis.md.
"""

import torch
from torch import Tensor

#: features kept per class, at most: enough for mixtures of twenty components, and 200 classes of
#: 768 numbers stay under 80 MB
KEPT_PER_CLASS = 256


def kept_features(split: str, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """``SPLIT.features`` (n, D) float16 and ``SPLIT.labels`` (n,) int16.

    features (N, D), labels (N,); the first KEPT_PER_CLASS of every class. Half precision keeps
    three digits, which is what a density or a distance needs.
    """
    order = labels.argsort(stable=True)
    in_order = labels[order]
    place = torch.arange(len(labels), device=labels.device) - torch.searchsorted(in_order, in_order)
    place_in_class = torch.empty_like(place).scatter_(0, order, place)
    kept = place_in_class < KEPT_PER_CLASS
    return {
        f"{split}.features": features[kept].to(torch.float16),
        f"{split}.labels": labels[kept].to(torch.int16),
    }
