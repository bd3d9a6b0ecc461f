"""A linear head on the frozen ViT, task after task."""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task


class LinearProbe(Learner):
    """Cross-entropy over the current classes only; the ViT never changes."""

    class Hyperparameters(BaseHyperparameters):
        """Adam on the head."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=1e-3, gt=0)

    hp: Any

    def setup(self) -> None:
        self.vit = self.setting.vit().requires_grad_(False).eval()
        self.head = nn.Linear(self.vit.num_features, self.setting.stream.n_classes)
        self.head.to(self.setting.device)
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.optimiser = torch.optim.Adam(self.head.parameters(), lr=self.hp.lr)

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """The frozen ViT's features of a batch, (B, D)."""
        assert batch.images is not None
        return self.vit(self.setting.vit_normalisation(batch.images))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.head(self.features(batch))[:, self.past : self.seen]
        loss = F.cross_entropy(logits, batch.labels - self.past)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        return self.head(self.features(batch))[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "weight": self.head.weight.detach(),
            "bias": self.head.bias.detach(),
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.head.load_state_dict({name: state[name] for name in ("weight", "bias")})
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": sum(p.numel() for p in self.head.parameters()), "stored": 0}
