"""What analyses ask of STAR-Prompt after a task: features, norms and operations.

Names and shapes of all that is kept stand in docs/analysis.md. Nothing here changes the method.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

#: training features kept of a class, at most: enough for mixtures of twenty components, and
#: 200 classes of 768 numbers stay under 80 MB
KEPT_A_CLASS = 256


def kept_features(split: str, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """``SPLIT.features`` (n, D) float16 and ``SPLIT.labels`` (n,) int16 for the diagnostics.

    features (N, D), labels (N,); of every class the first KEPT_A_CLASS. Half precision keeps three
    digits, which is what a density or a distance needs.
    """
    place_in_class = torch.zeros_like(labels)
    for label in labels.unique():
        own = labels == label
        place_in_class[own] = torch.arange(int(own.sum()), device=labels.device)
    kept = place_in_class < KEPT_A_CLASS
    return {
        f"{split}.features": features[kept].to(torch.float16),
        f"{split}.labels": labels[kept].to(torch.int16),
    }


def operations(compute: Callable[[], object]) -> int:
    """Floating-point operations of what ``compute`` does: two for each multiply and add.

    Matrix products, convolutions and attention are counted, element-wise work is not. PyTorch's
    fused attention module, which the counter can't see into, is switched off meanwhile.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            compute()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()
