"""What analyses ask of STAR-Prompt after a task: the features that it works on.

Names and shapes of all that is kept stand in docs/analysis.md. Nothing here changes the method.
"""

import torch
from torch import Tensor

#: training features kept of a class, at most: enough for mixtures of twenty components, and
#: 200 classes of 768 numbers stay under 80 MB
KEPT_A_CLASS = 256


def kept_features(split: str, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """``SPLIT.features`` (n, D) float16 and ``SPLIT.labels`` (n,) int16 for the diagnostics.

    features (N, D), labels (N,); of every class the first KEPT_A_CLASS. Half precision keeps three
    digits, which is what a density or a distance needs.
    """
    order = labels.argsort(stable=True)
    in_order = labels[order]
    place = torch.arange(len(labels), device=labels.device) - torch.searchsorted(in_order, in_order)
    place_in_class = torch.empty_like(place).scatter_(0, order, place)
    kept = place_in_class < KEPT_A_CLASS
    return {
        f"{split}.features": features[kept].to(torch.float16),
        f"{split}.labels": labels[kept].to(torch.int16),
    }
