"""Alignment of the linear head on replayed features (paper, Sec. 3.4; released `align`)."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from starprompt.precision import exactly

#: temperature of the norm-scaled logits, as in SLCA and the released code
LOGIT_TEMPERATURE = 0.1


def align_step(
    head: nn.Linear, optimiser: torch.optim.Optimizer, features: Tensor, labels: Tensor, seen: int
) -> Tensor:
    """One step: cross-entropy of logits / (0.1 * ||logits||_2) over the first ``seen`` classes.

    features (B, D); labels (B,) int64 below ``seen``. Returns the loss before the step.
    """
    logits = head(features)[:, :seen]
    norm = logits.norm(dim=-1, keepdim=True) + 1e-7
    loss = F.cross_entropy(logits / (LOGIT_TEMPERATURE * norm), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


@exactly()
def align_head(
    head: nn.Linear,
    batches: Iterable[tuple[Tensor, Tensor]],
    lr: float,
    seen: int,
) -> Tensor:
    """Train ``head`` in place on replayed (features, labels) batches by plain SGD.

    Returns the losses of all steps, (steps,).
    """
    optimiser = torch.optim.SGD(head.parameters(), lr=lr)
    losses = [align_step(head, optimiser, x, y, seen) for x, y in batches]
    return torch.stack(losses) if losses else torch.zeros(0)
