"""Alignment of the linear head on replayed features (paper, Sec. 3.4; released `align`)."""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from starprompt.precision import exactly
from starprompt.replay.feature_replay import shuffled_batches
from starprompt.replay.statistics import ClassGaussians

#: temperature of the norm-scaled logits, as in SLCA and the released code
LOGIT_TEMPERATURE = 0.1

#: epochs after which the rate of a cosine head's alignment has fallen; it rises again (TUNA's code)
COSINE_PERIOD = 5


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


@exactly()
def align_cosine_head(
    weight: Tensor,
    gaussians: ClassGaussians,
    *,
    samples: int,
    epochs: int,
    scale: float,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> Tensor:
    """(C, D) rows of a cosine head, trained from ``weight`` on draws of ``gaussians``.

    Each epoch draws ``samples`` of each class and takes C steps of cross-entropy of the cosines
    times ``scale``; the rate follows a cosine of period 2 COSINE_PERIOD, as TUNA's code has it.
    """
    head = weight.clone().requires_grad_()
    optimiser = torch.optim.SGD([head], lr=lr, momentum=momentum, weight_decay=weight_decay)
    for epoch in range(epochs):
        rate = lr * (1 + math.cos(math.pi * epoch / COSINE_PERIOD)) / 2
        optimiser.param_groups[0]["lr"] = rate
        for features, labels in shuffled_batches(gaussians.sample(samples), samples):
            cosines = F.normalize(features, dim=1) @ F.normalize(head, dim=1).T
            loss = F.cross_entropy(scale * cosines, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return head.detach()


@exactly()
def align_by_epochs(
    head: nn.Module,
    draws: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    epochs: int,
    lr: float,
    seen: int,
) -> None:
    """Train ``head`` in place on (features, labels) batches, which ``draws`` gives for each epoch.

    Plain cross-entropy over the first ``seen`` classes; SGD with momentum 0.9, whose rate falls by
    half a cosine over the epochs (HiDe-Prompt's ``train_task_adaptive_prediction``).
    """
    optimiser = torch.optim.SGD(head.parameters(), lr=lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, epochs))
    for _ in range(epochs):
        for features, labels in draws():
            loss = F.cross_entropy(head(features)[:, :seen], labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
