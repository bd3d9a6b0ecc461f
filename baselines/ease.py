"""EASE: an adapter for every task, and a prototype of every class in every adapter's subspace.

Zhou et al., "Expandable Subspace Ensemble for Pre-Trained Model-Based Class-Incremental Learning",
CVPR 2024 (arXiv 2403.12030), Sec. 4, Algorithm 1; code sun-hailong/CVPR24-Ease@6d67508:

    for each task b:
        train a new adapter A_b by SGD with a cosine head over the task's classes (Eq. 4)
        prototypes of the task's classes in the subspaces of A_1 ... A_b: class means (Eq. 6)
        prototypes of old classes in later subspaces: sums of newer classes' prototypes there,
            weighted by a softmax over their cosines in the old class's own subspace (Eq. 7-9)
    predict by the sum of cosines over subspaces, the class's own counting most (Eq. 10-11)
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.adapters import beside_mlps, new_adapters
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.first_session import SessionLearner
from starprompt.continual.learner import BaseHyperparameters
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.replay.statistics import class_means


def synthesised(prototypes: Tensor, task_of_class: Tensor, recalculate: bool) -> Tensor:
    """(b, C, D) prototypes of which those in subspaces later than a class's task are made up.

    prototypes     (b, C, D): of each class in each subspace; entries of later ones are replaced
    task_of_class  (C,) the subspace that each class came with
    recalculate    from all classes since a subspace's task (released), or from its own alone
    """
    made = prototypes.clone()
    for own in range(len(prototypes) - 1):
        old = task_of_class == own
        for later in range(own + 1, len(prototypes)):
            newer = task_of_class >= later if recalculate else task_of_class == later
            similarity = F.normalize(prototypes[own, old], dim=1) @ (
                F.normalize(prototypes[own, newer], dim=1).T
            )
            made[later, old] = similarity.softmax(dim=1) @ prototypes[later, newer]
    return made


class Ease(SessionLearner):
    """Adapters that are trained one after another, and prototypes in all of their subspaces."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values for CIFAR-100."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=48, ge=1)
        lr: float = Field(default=0.025, gt=0)
        momentum: float = Field(default=0.9, ge=0)
        weight_decay: float = Field(default=5e-4, ge=0)
        bottleneck: int = Field(default=64, ge=1, description="of the adapters")
        alpha: float = Field(default=0.1, ge=0, description="weight of other tasks' subspaces")
        beta: float = Field(default=0.0, ge=0, description="weight of the frozen ViT's features")
        recalculate: bool = Field(
            default=True, description="old prototypes are made up anew from all newer classes"
        )

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        vit = setting.vit()
        self.net = PromptedViT(vit).eval()
        tasks, classes = setting.stream.n_tasks, setting.stream.n_classes
        every = (new_adapters(vit, self.hp.bottleneck) for _ in range(tasks))
        self.adapters = nn.ModuleList(every)
        # row 0: the frozen ViT's features
        self.prototypes = torch.zeros(1 + tasks, classes, self.net.dim, device=setting.device)
        self.task_of_class = setting.stream.task_of_class().to(setting.device)
        self.task = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.task, self.seen = task.index, task.seen_classes
        self.begin_session(self.adapters[task.index].parameters(), self.net.dim, task.current)

    def adapted(self, batch: Batch) -> Tensor:
        self.adapters.train()
        return self.subspace(batch, self.task)

    def subspace(self, batch: Batch, task: int | None) -> Tensor:
        """(B, D) features with the adapter of ``task``; None: without."""
        adapters: Any = None if task is None else self.adapters[task]
        images = self.setting.vit_normalisation(batch.images)  # type: ignore[arg-type]
        return self.net(images, None if adapters is None else beside_mlps(adapters))

    @torch.no_grad()
    def subspaces(self, batch: Batch) -> Tensor:
        """(1 + b, B, D) features: frozen (zeros where they have no weight), then each adapter's."""
        self.adapters.eval()
        adapted = [self.subspace(batch, task) for task in range(self.task + 1)]
        frozen = self.subspace(batch, None) if self.hp.beta else torch.zeros_like(adapted[0])
        return torch.stack([frozen, *adapted])

    def end_task(self, task: Task) -> None:
        batches = list(task.train.batches(self.batch_size))
        features = torch.cat([self.subspaces(batch) for batch in batches], dim=1)
        labels = torch.cat([batch.labels for batch in batches])
        for number, own in enumerate(features):
            new = class_means(own, labels, task.current)
            self.prototypes[number, task.past_classes : task.seen_classes] = new
        real = self.prototypes[1 : task.index + 2, : self.seen]
        tasks = self.task_of_class[: self.seen]
        made = synthesised(real, tasks, self.hp.recalculate)
        self.prototypes[1 : task.index + 2, : self.seen] = made

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        used = self.task + 2
        features = F.normalize(self.subspaces(batch), dim=-1)
        prototypes = F.normalize(self.prototypes[:used, : self.seen], dim=-1)
        cosines = features @ prototypes.transpose(1, 2)  # (1 + b, B, C)
        own = F.one_hot(self.task_of_class[: self.seen] + 1, used).T.to(cosines.dtype)
        weights = torch.where(own > 0, 1.0, self.hp.alpha / max(self.task, 1))  # (1 + b, C)
        weights[0] = self.hp.beta
        return (weights[:, None] * cosines).sum(dim=0)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "prototypes": self.prototypes,
            "seen": torch.tensor(self.seen),
            "task": torch.tensor(self.task),
            **{f"adapters.{name}": t for name, t in self.adapters.state_dict().items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.prototypes = state["prototypes"].to(self.setting.device)
        self.seen, self.task = int(state["seen"]), int(state["task"])
        for name, tensor in self.adapters.state_dict().items():
            tensor.copy_(state[f"adapters.{name}"])

    def parameter_counts(self) -> dict[str, int]:
        trained = sum(p.numel() for p in self.adapters.parameters())
        return {"trained": trained, "stored": self.prototypes.numel()}
