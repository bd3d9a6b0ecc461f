"""One task's training of few parameters in a frozen ViT, with a cosine head of their own.

The first session of APER (Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained
Models", arXiv 2303.07338, Sec. 4.2) and of RanPAC (McDonnell et al., arXiv 2307.02251,
Algorithm 1, "Phase 1"); EASE has one for every task. SGD with momentum; the rate falls along a
cosine, epoch by epoch. The head is dropped afterwards.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineHead(nn.Module):
    """(B, C) logits sigma cos(f, w_c) of features (B, D); sigma starts at 1 and is learned."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(dim)
        self.weight = nn.Parameter(torch.empty(classes, dim).uniform_(-bound, bound))
        self.sigma = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        return self.sigma * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


def annealed(lr: float, epoch: int, epochs: int, least: float = 0.0) -> float:
    """The rate of ``epoch``, counted from 0: from ``lr`` along a cosine towards ``least``."""
    return least + (lr - least) * (1 + math.cos(math.pi * epoch / epochs)) / 2


class Session:
    """Trains ``parameters`` and a new :class:`CosineHead` on the classes of one task.

    A task of one class has a loss of 0 and no gradient: only weight decay moves anything, and
    adapters, whose output starts at zero, stay without effect.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        dim: int,
        classes: range,
        *,
        device: torch.device,
        lr: float,
        epochs: int,
        weight_decay: float,
        momentum: float = 0.9,
        min_lr: float = 0.0,
    ) -> None:
        self.head = CosineHead(dim, len(classes)).to(device)
        self.first_class = classes.start
        self.lr, self.epochs, self.min_lr = lr, epochs, min_lr
        self.optimiser = torch.optim.SGD(
            [*parameters, *self.head.parameters()],
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate of ``epoch``."""
        for group in self.optimiser.param_groups:
            group["lr"] = annealed(self.lr, epoch, self.epochs, self.min_lr)

    def step(self, features: Tensor, labels: Tensor) -> Tensor:
        """One update by features (B, D) of images with stream labels (B,); the scalar loss, a
        cross-entropy over the task's classes."""
        loss = F.cross_entropy(self.head(features), labels - self.first_class)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss
