"""RanPAC: random projections of frozen features and a ridge classifier.

McDonnell et al., "RanPAC: Random Projections and Pre-trained Models for Continual Learning",
NeurIPS 2023 (arXiv 2307.02251), Algorithm 1; code RanPAC/RanPAC@012927f:

    Phase 1, first task: adapt the ViT by SGD with a cosine head, then freeze it
    Phase 2, each task, over its images, with W fixed and random:
        h(x) = relu(W^T f(x))
        G <- G + H^T H,  C <- C + H^T Y
        ridge: the power of ten that fits the first four fifths best to the last fifth
    predict h(x) (G + ridge I)^-1 C

With ``adaptation: none`` there is no Phase 1: the row "No Phase 1" of the authors' tables.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from starprompt.backbones.adapters import Adaptation, AdaptedViT
from starprompt.continual.first_session import SessionLearner
from starprompt.continual.learner import BaseHyperparameters
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.precision import exactly
from starprompt.replay.ridge import held_out_errors, ridge_solution


class RanPAC(SessionLearner):
    """A first session, then one pass over each task's images, a Gram matrix, a linear system."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=20, ge=1, description="of the first session")
        batch_size: int = Field(default=48, ge=1)
        adaptation: Adaptation = Field(default="adapter", description="what the session trains")
        bottleneck: int = Field(default=64, ge=1, description="of the adapters")
        prompts: int = Field(default=5, ge=1, description="VPT's tokens a block")
        lr: float = Field(default=0.01, gt=0)
        momentum: float = Field(default=0.9, ge=0)
        weight_decay: float = Field(default=5e-4, ge=0)
        projections: int = Field(default=10000, ge=1, description="M")
        ridge_powers: tuple[int, int] = Field(
            default=(-8, 8), description="first and last power of ten that is tried"
        )
        held_out: float = Field(default=0.2, gt=0, lt=1, description="share that chooses the ridge")
        ridge_on_all: bool = Field(
            default=False,
            description="choose it with the past tasks' Gram matrix added, not on this task alone",
        )

    hp: Any

    def setup(self) -> None:
        setting, hp, m = self.setting, self.hp, self.hp.projections
        vit = setting.vit()
        self.projection = torch.randn(vit.num_features, m).to(setting.device)
        self.net = AdaptedViT(
            vit,
            hp.adaptation,
            setting.vit_normalisation,
            bottleneck=hp.bottleneck,
            prompts=hp.prompts,
        )
        self.gram = torch.zeros(m, m, device=setting.device)
        self.targets = torch.zeros(m, setting.stream.n_classes, device=setting.device)
        self.weights = torch.zeros_like(self.targets)
        self.seen = 0

    @property
    def epochs(self) -> int:
        return self.hp.epochs if self.session is not None else 0

    # --- Phase 1

    def begin_task(self, task: Task) -> None:
        self.seen, self.session, self.optimiser = task.seen_classes, None, None
        if task.index == 0 and self.hp.adaptation != "none":
            self.begin_session(self.net.trained().values(), self.net.dim, task.current)

    def adapted(self, batch: Batch) -> Tensor:
        self.net.train()
        return self.net(batch.images)

    # --- Phase 2

    @torch.no_grad()
    def projected(self, batch: Batch) -> Tensor:
        """(B, M): h(x)."""
        self.net.eval()
        return F.relu(self.net(batch.images) @ self.projection)

    def end_task(self, task: Task) -> None:
        batches = list(task.train.batches(self.batch_size))
        features = torch.cat([self.projected(batch) for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        one_hot = F.one_hot(labels, self.targets.shape[1]).to(features.dtype)
        with exactly():  # a sum of squares rounded to ten bits is no Gram matrix any more
            ridge = self.best_ridge(features, one_hot)
            self.gram += features.T @ features
            self.targets += features.T @ one_hot
            self.weights = ridge_solution(self.gram, self.targets, ridge)

    def best_ridge(self, features: Tensor, one_hot: Tensor) -> float:
        """The ridge with the least squared error on images that its own fit did not see."""
        first, last = self.hp.ridge_powers
        ridges = [10.0**power for power in range(first, last + 1)]
        order = self.row_order(len(features))
        fit, held = order.tensor_split([int((1 - self.hp.held_out) * len(order))])
        errors = held_out_errors(
            (features[fit], one_hot[fit]),
            (features[held], one_hot[held]),
            ridges,
            gram=self.gram if self.hp.ridge_on_all else None,
            targets=self.targets,
            report=partial(self.report, "ridge"),
        )
        least = min(errors)
        return ridges[errors.index(least) if least < float("inf") else -1]

    def row_order(self, count: int) -> Tensor:
        """(count,) the order in which a task's images are split; the release's loader shuffles."""
        return torch.randperm(count).to(self.setting.device)

    def predict(self, batch: Batch) -> Tensor:
        return self.projected(batch) @ self.weights[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "projection": self.projection,
            "gram": self.gram,
            "targets": self.targets,
            "weights": self.weights,
            "seen": torch.tensor(self.seen),
            **{f"net.{name}": p.detach() for name, p in self.net.trained().items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name in ("projection", "gram", "targets", "weights"):
            setattr(self, name, state[name].to(self.setting.device))
        for name, parameter in self.net.trained().items():
            parameter.copy_(state[f"net.{name}"])
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        adapted = sum(p.numel() for p in self.net.trained().values())
        stored = self.projection.numel() + self.gram.numel() + self.targets.numel()
        return {"trained": adapted + self.weights.numel(), "stored": stored}
