"""Learning without Forgetting: fine-tuning that keeps its old answers.

Li & Hoiem, "Learning without Forgetting", ECCV 2016, Fig. 3 and Eq. 2-4; class-incremental, hence
with one head over all classes. For each task, a copy of the model as it was answers for the old
classes, and the model is asked to go on giving those answers to the new images:

    loss = CE(logits over the classes seen, label)
         + weight * CE(softmax(old classes' logits / T), softmax(the copy's / T))
"""

import copy
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


class LwF(Learner):
    """Fine-tuning plus distillation from the model before the task, on the task's own images."""

    class Hyperparameters(BaseHyperparameters):
        """Adam from the pretrained weights, as fine-tuning's."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=1e-4, gt=0)
        temperature: float = Field(default=2.0, gt=0, description="T")
        weight: float = Field(default=1.0, ge=0, description="of the distillation")

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.net = Classifier(
            setting.vit(), setting.stream.n_classes, setting.vit_normalisation
        ).to(setting.device)
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.before = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=self.hp.lr)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.net.train()
        logits = self.net(batch.images)[:, : self.seen]
        cross_entropy = F.cross_entropy(logits, batch.labels)
        distillation = self.distillation(logits, batch)
        loss = cross_entropy + self.hp.weight * distillation
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss, "cross_entropy": cross_entropy, "distillation": distillation}

    def distillation(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the old classes' softened answers to those before the task."""
        if self.past == 0:
            return logits.new_zeros(())
        with torch.no_grad():
            answers = self.before(batch.images)[:, : self.past] / self.hp.temperature
        return F.cross_entropy(logits[:, : self.past] / self.hp.temperature, answers.softmax(1))

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        self.net.eval()
        return self.net(batch.images)[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return module_state(self.net) | {"seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net, state)
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        trained = count_parameters(self.net)
        return {"trained": trained, "stored": trained if self.past else 0}
