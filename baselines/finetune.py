"""Fine-tuning of the whole ViT, task by task: the lower bound; on a joint stream the upper."""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from starprompt.backbones.classifier import (
    Classifier,
    count_parameters,
    load_module_state,
    module_state,
)
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task


class Finetune(Learner):
    """Cross-entropy over all classes seen, every weight trained, nothing kept of the past."""

    class Hyperparameters(BaseHyperparameters):
        """Adam from the pretrained weights."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=1e-4, gt=0)

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.net = Classifier(
            setting.vit(), setting.stream.n_classes, setting.vit_normalisation
        ).to(setting.device)
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=self.hp.lr)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.net.train()
        loss = F.cross_entropy(self.net(batch.images)[:, : self.seen], batch.labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        self.net.eval()
        return self.net(batch.images)[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return module_state(self.net) | {"seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net, state)
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": count_parameters(self.net), "stored": 0}
