"""APER: one adaptation to the first task, then class means of adapted and frozen features.

Zhou et al., "Revisiting Class-Incremental Learning with Pre-Trained Models: Generalizability and
Adaptivity are All You Need", IJCV 2024 (arXiv 2303.07338), Sec. 4.2, Algorithm 1; code
zhoudw-zdw/RevisitingCIL@a2e6b71, the same in LAMDA-CL/LAMDA-PILOT@5240714:

    first task: adapt the ViT by SGD with a cosine head, then freeze it
    each task: the mean of [f(x), f*(x)] over each class's images, f frozen and f* adapted
    predict the class with the largest cosine
"""

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
from starprompt.replay.statistics import class_means


class Aper(SessionLearner):
    """A first session, then nothing but class means."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=20, ge=1, description="of the first session")
        batch_size: int = Field(default=48, ge=1)
        adaptation: Adaptation = Field(default="adapter", description="what the session trains")
        bottleneck: int = Field(default=64, ge=1, description="of the adapters")
        prompts: int = Field(default=5, ge=1, description="VPT's tokens")
        lr: float = Field(default=0.01, gt=0)
        momentum: float = Field(default=0.9, ge=0)
        weight_decay: float = Field(default=5e-4, ge=0)

    hp: Any

    def setup(self) -> None:
        setting, hp = self.setting, self.hp
        self.net = AdaptedViT(
            setting.vit(),
            hp.adaptation,
            setting.vit_normalisation,
            bottleneck=hp.bottleneck,
            prompts=hp.prompts,
        )
        self.means = torch.zeros(0, 2 * self.net.dim, device=setting.device)

    @property
    def epochs(self) -> int:
        return self.hp.epochs if self.session is not None else 0

    # --- the first session

    def begin_task(self, task: Task) -> None:
        self.session, self.optimiser = None, None
        if task.index == 0 and self.hp.adaptation != "none":
            self.begin_session(self.net.trained().values(), self.net.dim, task.current)

    def adapted(self, batch: Batch) -> Tensor:
        self.net.train()
        return self.net(batch.images)

    # --- class means

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """(B, 2 D): frozen and adapted features of the images, side by side."""
        assert batch.images is not None
        self.net.eval()
        return torch.cat([self.net.frozen(batch.images), self.net(batch.images)], dim=1)

    def end_task(self, task: Task) -> None:
        batches = list(task.train.batches(self.batch_size))
        features = torch.cat([self.features(batch) for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        self.means = torch.cat([self.means, class_means(features, labels, task.current)])

    def predict(self, batch: Batch) -> Tensor:
        return F.normalize(self.features(batch), dim=1) @ F.normalize(self.means, dim=1).T

    def state_dict(self) -> dict[str, Tensor]:
        adapted = {f"net.{name}": p.detach() for name, p in self.net.trained().items()}
        return {"means": self.means, **adapted}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.means = state["means"].to(self.setting.device)
        for name, parameter in self.net.trained().items():
            parameter.copy_(state[f"net.{name}"])

    def parameter_counts(self) -> dict[str, int]:
        adapted = sum(p.numel() for p in self.net.trained().values())
        return {"trained": adapted, "stored": self.means.numel()}
