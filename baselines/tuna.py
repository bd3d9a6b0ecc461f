"""TUNA: an adapter for every task, and a universal one merged from them all.

Wang et al., "Integrating Task-Specific and Universal Adapters for Pre-Trained Model-based
Class-Incremental Learning", ICCV 2025 (arXiv 2508.08165); code LAMDA-CL/ICCV2025-TUNA@77d4f10:

    for each task b:
        train A_b, which starts as A_{b-1}, and the task's rows of a cosine head, by SGD:
            cross-entropy with a margin over the task's classes + orthogonality to A_1 ... A_{b-1}
        A_u: of every weight the larger magnitude among the adapters that agree with the mean's sign
        align the head on Gaussian samples of all classes' features
    predict by the sum of two softmaxes: of the adapter whose own has the least entropy, and of A_u
"""

import copy
import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.adapters import beside_mlps, likeness, merge_adapters, new_adapters
from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.continual.schedules import half_cosine
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.replay.head_alignment import align_cosine_head
from starprompt.replay.statistics import ClassGaussians


class Tuna(Learner):
    """Task-specific adapters, chosen by entropy, beside a universal one."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values for ImageNet-R."""

        epochs: int = Field(default=10, ge=1)
        batch_size: int = Field(default=32, ge=1)
        lr: float = Field(default=0.02, gt=0)
        momentum: float = Field(default=0.9, ge=0)
        weight_decay: float = Field(default=5e-4, ge=0)
        bottleneck: int = Field(default=16, ge=1, description="of the adapters")
        scale: float = Field(default=20.0, gt=0, description="of cosines, before a softmax")
        margin: float = Field(default=0.0, ge=0, description="taken off the label's cosine")
        orthogonality: float = Field(default=1e-3, ge=0, description="falls as exp(-task)")
        align_epochs: int = Field(default=30, ge=0)
        align_lr: float = Field(default=0.005, gt=0)
        shrink: Literal["none", "by_task", "released"] = Field(
            default="released", description="of class means before they are sampled around"
        )
        universal: Literal["merged", "last"] = Field(
            default="merged", description="the paper's adapter, or the one the code predicts with"
        )
        freeze_old: bool = Field(
            default=True, description="orthogonality does not move the old adapters"
        )

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        vit = setting.vit()
        self.net = PromptedViT(vit).eval()
        tasks = setting.stream.n_tasks
        self.adapters = nn.ModuleList(
            new_adapters(vit, self.hp.bottleneck) for _ in range(tasks)
        ).requires_grad_(False)
        self.universal = copy.deepcopy(self.adapters[0]).eval()
        self.head = torch.zeros(0, self.net.dim, device=setting.device)
        self.gaussians = ClassGaussians.none(self.net.dim, setting.device)
        self.task_of_class = setting.stream.task_of_class()
        self.task = self.past = 0

    def begin_task(self, task: Task) -> None:
        self.task, self.past = task.index, task.past_classes
        rows = torch.empty(len(task.current), self.net.dim, device=self.setting.device)
        nn.init.trunc_normal_(rows, std=0.02)
        self.head = torch.cat([self.head.detach(), rows]).requires_grad_()
        own = self.adapters[task.index].requires_grad_()
        if task.index:
            own.load_state_dict(self.adapters[task.index - 1].state_dict())
        trained = [*own.parameters()]
        if not self.hp.freeze_old and self.hp.orthogonality:
            for old in self.adapters[: task.index].requires_grad_():
                trained += [p for name, p in old.named_parameters() if name.endswith("up.weight")]
        self.optimiser = torch.optim.SGD(
            [*trained, self.head],
            lr=self.hp.lr,
            momentum=self.hp.momentum,
            weight_decay=self.hp.weight_decay,
        )

    def begin_epoch(self, epoch: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = half_cosine(epoch, self.epochs, self.hp.lr)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        own = self.adapters[self.task].train()
        cosines = self.cosines(self.features(batch, own))[:, self.past :]
        labels = batch.labels - self.past
        taken_off = self.hp.margin * F.one_hot(labels, cosines.shape[1])
        loss = cross_entropy = F.cross_entropy(self.hp.scale * (cosines - taken_off), labels)
        if self.task and self.hp.orthogonality:
            alike = [likeness(own, old) for old in self.adapters[: self.task]]
            factor = self.hp.orthogonality * math.exp(-(self.task + 1))
            loss = loss + factor * torch.stack(alike).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss, "cross_entropy": cross_entropy}

    def features(self, batch: Batch, adapters: Any) -> Tensor:
        """(B, D) features with one set of adapters."""
        images = self.setting.vit_normalisation(batch.images)  # type: ignore[arg-type]
        return self.net(images, beside_mlps(adapters))

    def cosines(self, features: Tensor) -> Tensor:
        """(B, classes so far): cosines to the head's rows."""
        return F.normalize(features, dim=1) @ F.normalize(self.head, dim=1).T

    # --- the end of a task

    def end_task(self, task: Task) -> None:
        self.adapters.requires_grad_(False).eval()
        merge_adapters(self.universal, self.adapters[: task.index + 1])
        batches, own = list(task.train.batches(self.batch_size)), self.adapters[task.index]
        with torch.no_grad():
            features = torch.cat([self.features(batch, own) for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        self.gaussians = self.gaussians.fit(features, labels, task.current)
        if task.index:
            self.align(len(task.current))

    def mean_factors(self, classes: int) -> Tensor:
        """(C,) what the means are multiplied by, after a task of so many classes.

        by_task   0.9 + 0.1 (t + 1) / b for a class of task t: old means shrink, as in SLCA
        released  the same with t = class // -classes, which is 0 or less: new means shrink more
        """
        labels = torch.arange(len(self.gaussians))
        if self.hp.shrink == "none":
            return torch.ones(len(labels))
        task = self.task_of_class[labels] if self.hp.shrink == "by_task" else labels // -classes
        return 0.9 + 0.1 * (task + 1) / (self.task + 1)

    def align(self, classes: int) -> None:
        """Train the head on draws around all classes' means, fresh in every epoch."""
        factors = self.mean_factors(classes).to(self.setting.device)
        self.head = align_cosine_head(
            self.head.detach(),
            ClassGaussians(self.gaussians.means * factors[:, None], self.gaussians.covariances),
            samples=5 * self.batch_size,
            epochs=self.hp.align_epochs,
            scale=self.hp.scale,
            lr=self.hp.align_lr,
            momentum=self.hp.momentum,
            weight_decay=self.hp.weight_decay,
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """(B, classes so far) sums of two softmaxes; which adapter each image chose is recorded."""
        self.adapters.eval()
        own = torch.stack([self.answers(batch, a) for a in self.adapters[: self.task + 1]])
        entropy = -(own * (own + 1e-10).log()).sum(dim=2)  # (b, B)
        least, chosen = entropy.min(dim=0)
        self.last_selection = Selection(chosen[:, None], -least[:, None], of="task")
        special = own[chosen, torch.arange(len(chosen), device=chosen.device)]
        last = self.adapters[self.task] if self.hp.universal == "last" else self.universal
        return special + self.answers(batch, last)

    def answers(self, batch: Batch, adapters: Any) -> Tensor:
        """(B, classes so far): softmax of the scaled cosines with one set of adapters."""
        return (self.hp.scale * self.cosines(self.features(batch, adapters))).softmax(dim=1)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **module_state(self.adapters, "adapters."),
            **module_state(self.universal, "universal."),
            **self.gaussians.state("gaussians."),
            "head": self.head.detach(),
            "task": torch.tensor(self.task),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        state = {name: tensor.to(self.setting.device) for name, tensor in state.items()}
        load_module_state(self.adapters, state, "adapters.")
        load_module_state(self.universal, state, "universal.")
        self.gaussians = ClassGaussians.from_state(state, "gaussians.")
        self.head, self.task = state["head"], int(state["task"])

    def parameter_counts(self) -> dict[str, int]:
        universal = sum(p.numel() for p in self.universal.parameters())
        trained = sum(p.numel() for p in self.adapters.parameters())
        stored = self.gaussians.means.numel() + self.gaussians.covariances.numel()
        head = self.setting.stream.n_classes * self.net.dim
        return {"trained": trained + head, "stored": universal + stored}
