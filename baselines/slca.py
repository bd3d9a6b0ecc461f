"""SLCA: a slow learner with classifier alignment.

Zhang et al., "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a Pre-trained
Model", ICCV 2023 (arXiv 2303.05118), Algorithm 1:

    for each task:
        take up the head as it was before its last alignment
        SGD on cross-entropy(current classes), the backbone at a hundredth of the head's rate
        mean and covariance of each class's features
        from the second task on: align a copy of the head on Gaussian samples of all classes,
            logits over 0.1 times their norm
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
from starprompt.replay.feature_replay import shuffled_batches
from starprompt.replay.head_alignment import align_head
from starprompt.replay.statistics import ClassGaussians


class SLCA(Learner):
    """Full fine-tuning with a slow backbone, then alignment of the head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values; their milestones divide both rates by ten."""

        epochs: int = Field(default=50, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.01, gt=0, description="of the head")
        backbone_factor: float = Field(default=0.01, gt=0, description="backbone's lr over head's")
        momentum: float = Field(default=0.9, ge=0)
        weight_decay: float = Field(default=5e-4, ge=0)
        milestones: tuple[int, ...] = Field(default=(40,), description="epochs of the decay")
        align_epochs: int = Field(default=5, ge=0)
        align_lr: float = Field(default=0.01, gt=0)
        align_samples: int = Field(default=256, ge=1, description="drawn of each class an epoch")
        align_batch_size: int = Field(default=128, ge=1)
        align_momentum: float = Field(default=0.9, ge=0)

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.net = Classifier(
            setting.vit(), setting.stream.n_classes, setting.vit_normalisation
        ).to(setting.device)
        self.head_for_prediction = self.net.head
        self.gaussians = ClassGaussians.none(self.net.head.in_features, setting.device)
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.head_for_prediction = self.net.head
        self.optimiser = torch.optim.SGD(
            [
                {
                    "params": self.net.vit.parameters(),
                    "lr": self.hp.lr * self.hp.backbone_factor,
                },
                {"params": self.net.head.parameters()},
            ],
            lr=self.hp.lr,
            momentum=self.hp.momentum,
            weight_decay=self.hp.weight_decay,
        )

    def begin_epoch(self, epoch: int) -> None:
        if epoch in self.hp.milestones:
            for group in self.optimiser.param_groups:
                group["lr"] *= 0.1

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.net.train()
        logits = self.net(batch.images)[:, self.past : self.seen]
        loss = F.cross_entropy(logits, batch.labels - self.past)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss}

    def end_task(self, task: Task) -> None:
        self._remember(task)
        if task.index > 0:
            self._align()

    @torch.no_grad()
    def _remember(self, task: Task) -> None:
        self.net.eval()
        batches = list(task.train.batches(self.batch_size))
        features = torch.cat([self.net.features(b.images) for b in batches])  # type: ignore[arg-type]
        labels = torch.cat([batch.labels for batch in batches])
        self.gaussians = self.gaussians.fit(features, labels, task.current)

    def _align(self) -> None:
        """Align a copy of the head with features drawn for all seen classes."""
        self.head_for_prediction = copy.deepcopy(self.net.head)
        batches = (
            batch
            for _ in range(self.hp.align_epochs)
            for batch in shuffled_batches(
                self.gaussians.sample(self.hp.align_samples), self.hp.align_batch_size
            )
        )
        align_head(
            self.head_for_prediction,
            batches,
            self.hp.align_lr,
            self.seen,
            self.hp.align_momentum,
            self.hp.weight_decay,
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        self.net.eval()
        return self.head_for_prediction(self.net.features(batch.images))[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **module_state(self.net, "net."),
            **module_state(self.head_for_prediction, "aligned."),
            **self.gaussians.state("gaussians."),
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net, state, "net.")
        self.head_for_prediction = copy.deepcopy(self.net.head)
        load_module_state(self.head_for_prediction, state, "aligned.")
        state = {name: tensor.to(self.setting.device) for name, tensor in state.items()}
        self.gaussians = ClassGaussians.from_state(state, "gaussians.")
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        stored = self.gaussians.means.numel() + self.gaussians.covariances.numel()
        return {"trained": count_parameters(self.net), "stored": stored}
