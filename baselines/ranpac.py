"""RanPAC: random projections of frozen features and a ridge classifier.

McDonnell et al., "RanPAC: Random Projections and Pre-trained Models for Continual Learning",
NeurIPS 2023 (arXiv 2307.02251), Algorithm 1 without its first-session adapters:

    h(x) = relu(W^T f(x)), W fixed and random
    G <- G + H^T H,  C <- C + H^T Y                      over the task's images
    predict h(x) (G + ridge I)^-1 C

The ridge is the power of ten that fits four fifths of the task's images best to the last fifth.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.precision import exactly


def ridge_solution(gram: Tensor, targets: Tensor, ridge: float) -> Tensor:
    """(M, C) weights (G + ridge I)^-1 C of Gram matrix (M, M) and summed targets (M, C)."""
    identity = torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(gram + ridge * identity, targets)


class RanPAC(Learner):
    """One pass over the images, a Gram matrix, and a linear system."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        batch_size: int = Field(default=128, ge=1)
        projections: int = Field(default=10000, ge=1, description="M")
        ridge_powers: tuple[int, int] = Field(
            default=(-8, 8), description="first and last power of ten that is tried"
        )
        held_out: float = Field(default=0.2, gt=0, lt=1, description="share that chooses the ridge")

    hp: Any

    def setup(self) -> None:
        setting, m = self.setting, self.hp.projections
        self.vit = setting.vit().requires_grad_(False).eval()
        self.projection = torch.randn(self.vit.num_features, m).to(setting.device)
        self.gram = torch.zeros(m, m, device=setting.device)
        self.targets = torch.zeros(m, setting.stream.n_classes, device=setting.device)
        self.weights = torch.zeros_like(self.targets)
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes

    @torch.no_grad()
    def projected(self, batch: Batch) -> Tensor:
        """(B, M): h(x)."""
        assert batch.images is not None
        return F.relu(self.vit(self.setting.vit_normalisation(batch.images)) @ self.projection)

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
        order = torch.randperm(len(features)).to(features.device)
        held, fit = order.tensor_split([max(1, int(self.hp.held_out * len(order)))])
        gram = self.gram + features[fit].T @ features[fit]
        targets = self.targets + features[fit].T @ one_hot[fit]
        first, last = self.hp.ridge_powers
        candidates = [10.0**power for power in range(first, last + 1)]
        errors = []
        for ridge in candidates:
            try:
                answers = features[held] @ ridge_solution(gram, targets, ridge)
            except torch.linalg.LinAlgError:  # too small a ridge for a singular Gram matrix
                errors.append(float("inf"))
                continue
            error = F.mse_loss(answers, one_hot[held]).item()
            errors.append(error if error == error else float("inf"))
        return candidates[errors.index(min(errors))]

    def predict(self, batch: Batch) -> Tensor:
        return self.projected(batch) @ self.weights[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "projection": self.projection,
            "gram": self.gram,
            "targets": self.targets,
            "weights": self.weights,
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name in ("projection", "gram", "targets", "weights"):
            setattr(self, name, state[name].to(self.setting.device))
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        stored = self.projection.numel() + self.gram.numel() + self.targets.numel()
        return {"trained": self.weights.numel(), "stored": stored}
