"""SLCA: a slow learner with classifier alignment.

Zhang et al., "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a Pre-trained
Model", ICCV 2023 (arXiv 2303.05118), Algorithm 1, as released (``models/slca.py``):

    for each task:
        take up the head as it was before its last alignment; its rows of past tasks are frozen
        SGD on cross-entropy(current classes), the backbone at a hundredth of the head's rate
        mean and covariance of each class's features
        from the second task on: align a copy of the whole head on Gaussian samples of all classes,
            logits over 0.1 times the mean of their norms within each task
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import (
    Classifier,
    count_parameters,
    load_module_state,
    module_state,
)
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import DivergedError
from starprompt.precision import exactly
from starprompt.replay.feature_replay import shuffled_batches
from starprompt.replay.statistics import ClassGaussians

#: standard deviation of a new head's weights, a truncated normal; its biases start at zero
HEAD_STD = 0.02


def scaled_logits(logits: Tensor, sizes: list[int], temperature: float) -> Tensor:
    """Logits (B, C) over ``temperature`` times the mean, over tasks, of the task's own norm.

    ``sizes`` are the tasks' classes, C in all (released ``_stage2_compact_classifier``).
    """
    norms = [own.norm(dim=-1, keepdim=True) + 1e-7 for own in logits.split(sizes, dim=-1)]
    return logits / torch.cat(norms, dim=-1).mean(dim=-1, keepdim=True) / temperature


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
        align_batch_size: int = Field(default=256, ge=1)
        align_momentum: float = Field(default=0.9, ge=0)
        temperature: float = Field(default=0.1, gt=0, description="of the alignment's logits")

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.net = Classifier(
            setting.vit(), setting.stream.n_classes, setting.vit_normalisation
        ).to(setting.device)
        #: of all classes; a task's own rows enter it when the task ends
        self.head_for_prediction = self.net.head
        self.gaussians = ClassGaussians.none(self.net.head.in_features, setting.device)
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.head_for_prediction = self.net.head
        own = nn.Linear(self.net.head.in_features, len(task.current))
        nn.init.trunc_normal_(own.weight, std=HEAD_STD)
        nn.init.zeros_(own.bias)
        self.own_head = own.to(self.setting.device)
        slow = {"params": self.net.vit.parameters(), "lr": self.hp.lr * self.hp.backbone_factor}
        self.optimiser = torch.optim.SGD(
            [slow, {"params": self.own_head.parameters()}],
            lr=self.hp.lr,
            momentum=self.hp.momentum,
            weight_decay=self.hp.weight_decay,
        )

    def begin_epoch(self, epoch: int) -> None:
        if epoch in self.hp.milestones:
            for group in self.optimiser.param_groups:
                group["lr"] *= 0.1

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        self.net.train()
        logits = self.own_head(self.net.features(batch.images))
        loss = F.cross_entropy(logits, batch.labels - self.past)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss}

    def end_task(self, task: Task) -> None:
        with torch.no_grad():
            self.net.head.weight[self.past : self.seen] = self.own_head.weight
            self.net.head.bias[self.past : self.seen] = self.own_head.bias
        self._fit_gaussians(task)
        if task.index > 0:
            self._align()

    @torch.no_grad()
    def _fit_gaussians(self, task: Task) -> None:
        self.net.eval()
        batches = list(task.train.batches(self.batch_size))
        features = torch.cat([self.net.features(b.images) for b in batches])  # type: ignore[arg-type]
        labels = torch.cat([batch.labels for batch in batches])
        self._require_finite(features, "features")
        self.gaussians = self.gaussians.fit(features, labels, task.current)

    @exactly()
    def _align(self) -> None:
        """Align a copy of the head with features drawn for all seen classes."""
        self.head_for_prediction = copy.deepcopy(self.net.head)
        optimiser = torch.optim.SGD(
            self.head_for_prediction.parameters(),
            lr=self.hp.align_lr,
            momentum=self.hp.align_momentum,
            weight_decay=self.hp.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.hp.align_epochs)
        losses = []
        for _ in range(self.hp.align_epochs):
            samples = self.shrunk_gaussians().sample(self.hp.align_samples)
            for features, labels in shuffled_batches(samples, self.hp.align_batch_size):
                losses.append(self._align_step(optimiser, features, labels))
            schedule.step()
        if losses:
            self._require_finite(torch.stack(losses), "loss of the alignment")

    def shrunk_gaussians(self) -> ClassGaussians:
        """Of the seen classes; task t of T has its means times 0.9 + 0.1 (t + 1) / T."""
        task = self.setting.stream.task_of_class()[: self.seen].to(self.setting.device)
        factor = 0.9 + 0.1 * (task + 1) / (task.max() + 1)
        return ClassGaussians(self.gaussians.means * factor[:, None], self.gaussians.covariances)

    def _align_step(
        self, optimiser: torch.optim.Optimizer, features: Tensor, labels: Tensor
    ) -> Tensor:
        """One step on drawn features; the loss before it."""
        tasks = self.setting.stream.task_of_class()[: self.seen]
        logits = self.head_for_prediction(features)[:, : self.seen]
        scaled = scaled_logits(logits, tasks.bincount().tolist(), self.hp.temperature)
        loss = F.cross_entropy(scaled, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    def _require_finite(self, values: Tensor, what: str) -> None:
        if not bool(values.isfinite().all()):
            raise DivergedError(
                f"SLCA's {what} became infinite or NaN after {self.seen} classes of "
                f"{self.setting.stream.dataset}; lower its lr."
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
