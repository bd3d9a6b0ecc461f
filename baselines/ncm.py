"""NCM: the class whose mean feature lies nearest, on a ViT that never changes ("SimpleCIL").

Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained Models: Generalizability and
Adaptivity are All You Need", IJCV 2024 (arXiv 2303.07338), Sec. 4.1.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.replay.statistics import class_means


class NCM(Learner):
    """Cosine to the means of the classes seen; nothing is trained."""

    class Hyperparameters(BaseHyperparameters):
        """The batch size does not change the result."""

        batch_size: int = Field(default=128, ge=1)

    hp: Any

    def setup(self) -> None:
        self.vit = self.setting.vit().requires_grad_(False).eval()
        self.means = torch.zeros(0, self.vit.num_features, device=self.setting.device)

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """The frozen ViT's features of a batch, (B, D)."""
        assert batch.images is not None
        return self.vit(self.setting.vit_normalisation(batch.images))

    def end_task(self, task: Task) -> None:
        batches = list(task.train.batches(self.batch_size))
        features = torch.cat([self.features(batch) for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        self.means = torch.cat([self.means, class_means(features, labels, task.current)])

    def predict(self, batch: Batch) -> Tensor:
        return F.normalize(self.features(batch), dim=-1) @ F.normalize(self.means, dim=-1).T

    def state_dict(self) -> dict[str, Tensor]:
        return {"means": self.means}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.means = state["means"].to(self.setting.device)

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": 0, "stored": self.means.numel()}
