"""One task's training of few parameters in a frozen ViT, with a cosine head of their own.

The first session of APER (Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained
Models", arXiv 2303.07338, Sec. 4.2) and of RanPAC (McDonnell et al., arXiv 2307.02251,
Algorithm 1, "Phase 1"); EASE has one for every task. SGD with momentum; the rate falls along a
cosine, epoch by epoch. The head is dropped afterwards.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from starprompt.continual.learner import Learner
from starprompt.continual.schedules import half_cosine
from starprompt.data.batch import Batch


class CosineHead(nn.Module):
    """(B, C) logits sigma cos(f, w_c) of features (B, D); sigma starts at 1 and is learned."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(dim)
        self.weight = nn.Parameter(torch.empty(classes, dim).uniform_(-bound, bound))
        self.sigma = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        return self.sigma * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


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
    ) -> None:
        self.head = CosineHead(dim, len(classes)).to(device)
        self.first_class = classes.start
        self.lr, self.epochs = lr, epochs
        self.optimiser = torch.optim.SGD(
            [*parameters, *self.head.parameters()],
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
        )

    def begin_epoch(self, epoch: int) -> None:
        """Set the rate of ``epoch``."""
        for group in self.optimiser.param_groups:
            group["lr"] = half_cosine(epoch, self.epochs, self.lr)

    def step(self, features: Tensor, labels: Tensor) -> Tensor:
        """One update by features (B, D) of images with stream labels (B,); the scalar loss, a
        cross-entropy over the task's classes."""
        loss = F.cross_entropy(self.head(features), labels - self.first_class)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss


class SessionLearner(Learner):
    """A learner whose steps are those of a :class:`Session`, in the first task or in every one.

    Its hyperparameters have ``lr``, ``epochs``, ``momentum`` and ``weight_decay``.
    """

    #: None where the task at hand has no steps
    session: Session | None = None
    optimiser: torch.optim.SGD | None = None

    def begin_session(self, parameters: Iterable[nn.Parameter], dim: int, classes: range) -> None:
        """A new session that trains ``parameters`` on features of width ``dim``."""
        self.session = Session(
            parameters,
            dim,
            classes,
            device=self.setting.device,
            lr=self.hp.lr,
            epochs=self.hp.epochs,
            momentum=self.hp.momentum,
            weight_decay=self.hp.weight_decay,
        )
        self.optimiser = self.session.optimiser

    @abstractmethod
    def adapted(self, batch: Batch) -> Tensor:
        """(B, D) features, from which gradients reach what the session trains."""

    def begin_epoch(self, epoch: int) -> None:
        assert self.session is not None
        self.session.begin_epoch(epoch)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert self.session is not None
        return {"loss": self.session.step(self.adapted(batch), batch.labels)}
