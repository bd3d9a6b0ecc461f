"""RAPF: a linear adapter on CLIP's features, neighbours kept apart, old and new weights fused.

Huang et al., "Class-Incremental Learning with CLIP: Adaptive Representation Adjustment and
Parameter Fusion", ECCV 2024 (arXiv 2407.14143), Sec. 3; code linlany/RAPF@81d41df:

    for each task b:
        neighbours: pairs (old class, new class) whose texts lie nearer than a threshold
        train the adapter W by Adam on the task's features and on draws of old classes' Gaussians:
            cross-entropy over all classes seen, logits tau cos(W x, text of the class)
            + hinge: draws of a neighbour lie nearer to their own text than to the new class's
        Gaussians of the task's classes: mean and covariance of CLIP's features
        fuse: in the left singular basis of the old W, an entry follows the new W the more, the
            more it changed

Features are CLIP's own, not normalised before the adapter. CLIP is frozen and sees clean images, as
in the authors' code, so that its cached features serve.
"""

import copy
import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.precision import exactly
from starprompt.replay.statistics import COVARIANCE_FLOOR, ClassGaussians

TEMPLATE = "a good photo of a {}."


def neighbours(old: Tensor, new: Tensor, threshold: float) -> Tensor:
    """(P, 2) rows of unit text features ``old`` (C, d) and ``new`` (K, d) that lie nearer to each
    other than ``threshold``."""
    return (torch.cdist(old, new) < threshold).nonzero()


def shrunk(covariances: Tensor) -> Tensor:
    """(C, D, D) plus the mean of each one's diagonal on the diagonal, and the mean of its other
    entries, zeros not counted, elsewhere (``shrink_cov``)."""
    identity = torch.eye(covariances.shape[-1], device=covariances.device)
    diagonal = covariances.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    others = covariances * (1 - identity)
    count = (others != 0).sum(dim=(1, 2), keepdim=True).clamp_min(1)
    elsewhere = others.sum(dim=(1, 2), keepdim=True) / count
    return covariances + diagonal * identity + elsewhere * (1 - identity)


@exactly()
def fused(old: Tensor, new: Tensor, bias: float) -> Tensor:
    """(d, d) weights between ``old`` and ``new``: in the left singular basis of ``old``, each entry
    goes min(1, change / largest change + bias) of the way (``mix_matrix``)."""
    basis, values, rows = torch.linalg.svd(old)
    before, after = values[:, None] * rows, basis.T @ new
    change = (after - before).abs()
    way = (change / change.max().clamp_min(1e-30) + bias).clamp_max(1)
    return basis @ torch.lerp(before, after, way)


class RAPF(Learner):
    """Frozen CLIP, one linear adapter that all tasks train, and a Gaussian of each class."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values for CIFAR-100 in ten tasks."""

        epochs: int = Field(default=15, ge=1)
        batch_size: int = Field(default=100, ge=1)
        lr: float = Field(default=0.001, gt=0)
        milestones: tuple[int, ...] = Field(
            default=(4, 10), description="epochs after which the rate is a tenth"
        )
        replay_classes: int = Field(default=2, ge=0, description="old classes drawn for a batch")
        replay_samples: int = Field(default=20, ge=1, description="of each of them")
        pair_samples: int = Field(default=40, ge=1, description="of the old class of each pair")
        threshold: float = Field(default=0.55, ge=0, description="distance of neighbours' texts")
        margin: float = Field(default=0.1, ge=0, description="of the hinge")
        fusion_bias: float = Field(default=0.6, ge=0, description="least way to the new weights")
        shrink: bool = Field(default=False, description="shrink covariances before drawing")

    train_inputs: ClassVar[tuple[str, ...]] = ("features",)
    test_inputs: ClassVar[tuple[str, ...]] = ("features",)
    augment: ClassVar[bool] = False
    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.clip = setting.clip()
        texts = [TEMPLATE.format(name) for name in setting.stream.class_names]
        self.texts = F.normalize(self.clip.encode_texts(texts), dim=-1)
        dim = self.clip.dim
        self.adapter = nn.Linear(dim, dim, bias=False).to(setting.device)
        self.gaussians = ClassGaussians.none(dim, setting.device)
        self.seen = 0

    # --- learning a task

    def begin_task(self, task: Task) -> None:
        self.seen, past = task.seen_classes, task.past_classes
        self.old = copy.deepcopy(self.adapter).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.adapter.parameters(), lr=self.hp.lr)
        self.pairs = neighbours(
            self.texts[:past], self.texts[past : self.seen], self.hp.threshold
        ) + torch.tensor([0, past], device=self.texts.device)
        identity = torch.eye(self.clip.dim, device=self.texts.device)
        lifted = self.gaussians.covariances + COVARIANCE_FLOOR * identity
        self.factors = torch.linalg.cholesky(shrunk(lifted) if self.hp.shrink else lifted)
        # Old classes of each step: an epoch goes through them in its own order, over and over.
        steps = math.ceil(len(task.train) / self.batch_size)
        share = self.hp.replay_classes if past else 0
        places = (torch.arange(steps * share) % max(past, 1)).view(steps, share)
        orders = [torch.randperm(past)[places] for _ in range(self.epochs)]
        self.replayed = torch.cat(orders).to(self.setting.device)
        self.step = 0

    def begin_epoch(self, epoch: int) -> None:
        rate = self.hp.lr * 0.1 ** sum(epoch >= milestone for milestone in self.hp.milestones)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.clip is not None
        old = self.replayed[self.step]
        self.step += 1
        drawn, pairs = self.draw(old, self.hp.replay_samples), self.pairs
        features = torch.cat([batch.clip, drawn])
        labels = torch.cat([batch.labels, old.repeat_interleave(self.hp.replay_samples)])
        loss = cross_entropy = F.cross_entropy(self.logits(features), labels)
        losses = {"cross_entropy": cross_entropy}
        if len(pairs):
            near = F.normalize(self.adapter(self.draw(pairs[:, 0], self.hp.pair_samples)), dim=1)
            own, other = (
                (near * self.texts[classes].repeat_interleave(self.hp.pair_samples, 0)).sum(dim=1)
                for classes in pairs.T
            )
            losses["hinge"] = F.relu(other - own + self.hp.margin).mean()
            loss = loss + losses["hinge"]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss, **losses}

    def draw(self, classes: Tensor, samples: int) -> Tensor:
        """(K samples, d): so many draws from each of K old classes' Gaussians, in their order."""
        noise = torch.randn(len(classes), samples, self.clip.dim, device=self.texts.device)
        drawn = noise @ self.factors[classes].mT + self.gaussians.means[classes][:, None]
        return drawn.flatten(0, 1)

    def logits(self, features: Tensor) -> Tensor:
        """(B, classes seen): tau cos(W x, text) of CLIP's features (B, d)."""
        adapted = F.normalize(self.adapter(features), dim=1)
        return self.clip.logit_scale * adapted @ self.texts[: self.seen].T

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        features = task.train.features("clip")
        labels = task.train.labels.to(features.device)
        self.gaussians = self.gaussians.fit(features, labels, task.current)
        if task.index:
            weight = self.adapter.weight
            weight.copy_(fused(self.old.weight, weight, self.hp.fusion_bias))

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.clip is not None
        return self.logits(batch.clip)

    # --- checkpoints

    def task_state(self) -> dict[str, Tensor]:
        optimiser = super().task_state()
        assert optimiser is not None
        return optimiser | {"replayed": self.replayed, "step": torch.tensor(self.step)}

    def load_task_state(self, state: dict[str, Tensor]) -> None:
        self.replayed, self.step = state["replayed"], int(state["step"])
        super().load_task_state({k: v for k, v in state.items() if k not in ("replayed", "step")})

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **module_state(self.adapter, "adapter."),
            **self.gaussians.state("gaussians."),
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        state = {name: tensor.to(self.setting.device) for name, tensor in state.items()}
        load_module_state(self.adapter, state, "adapter.")
        self.gaussians = ClassGaussians.from_state(state, "gaussians.")
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        stored = self.gaussians.means.numel() + self.gaussians.covariances.numel()
        return {"trained": self.adapter.weight.numel(), "stored": stored}
