"""GDumb: a greedy sampler and a dumb learner.

Prabhu, Torr & Dokania, "GDumb: A Simple Approach that Questions Our Progress in Continual
Learning", ECCV 2020, Sec. 3. While the stream goes by, nothing is learned: a class-balanced buffer
is filled greedily (Algorithm 1). When answers are wanted, a model is trained from the pretrained
weights on the buffer alone, by SGD with CutMix.
"""

import math
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
from starprompt.replay.buffers import BalancedBuffer


def learning_rate(epoch: int, high: float, low: float) -> float:
    """A tenth of ``high`` in the first epoch, then cosines from ``high`` to ``low`` that start
    anew after 1, 2, 4 ... epochs (Loshchilov & Hutter 2017, as the authors set it)."""
    if epoch == 0:
        return 0.1 * high
    place, period = epoch - 1, 1
    while place >= period:
        place, period = place - period, 2 * period
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * place / period))


def cutmix(images: Tensor, alpha: float) -> tuple[Tensor, Tensor, float]:
    """Paste one box of each image's partner into it (Yun et al. 2019, Algorithm A1).

    Returns the images (B,3,H,W), the partners (B,) and the share of the image's own pixels.
    """
    partner = torch.randperm(len(images))
    own = float(torch.distributions.Beta(alpha, alpha).sample())
    height, width = images.shape[-2:]
    half = 0.5 * math.sqrt(1 - own)
    row, column = (torch.rand(2) * torch.tensor([height, width])).tolist()
    top, bottom = max(0, int(row - half * height)), min(height, int(row + half * height))
    left, right = max(0, int(column - half * width)), min(width, int(column + half * width))
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partner.to(images.device)][
        ..., top:bottom, left:right
    ]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


class GDumb(Learner):
    """A balanced buffer, and a model made from it alone after every task."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values but for the buffer and the epochs."""

        batch_size: int = Field(default=32, ge=1)
        buffer: int = Field(default=500, ge=1, description="images kept")
        fit_epochs: int = Field(default=256, ge=1, description="passes over the buffer")
        lr: float = Field(default=0.05, gt=0)
        lr_min: float = Field(default=0.0005, gt=0)
        momentum: float = Field(default=0.9, ge=0)
        weight_decay: float = Field(default=1e-6, ge=0)
        cutmix: float = Field(default=1.0, ge=0, description="alpha; 0 for none")
        cutmix_probability: float = Field(default=0.5, ge=0, le=1)
        clip_gradient: float = Field(default=10.0, gt=0, description="largest norm of a gradient")

    hp: Any

    def setup(self) -> None:
        self.buffer = BalancedBuffer(self.hp.buffer)
        self.net = self._pretrained()
        self.losses: list[Tensor] = []
        self.seen = 0

    def _pretrained(self) -> Classifier:
        setting = self.setting
        return Classifier(setting.vit(), setting.stream.n_classes, setting.vit_normalisation).to(
            setting.device
        )

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes

    def end_task(self, task: Task) -> None:
        self._sample(task)
        self._fit(task)

    def _sample(self, task: Task) -> None:
        """Offer the task's images, in random order, to the buffer."""
        order = torch.randperm(len(task.train))
        ids, labels = torch.from_numpy(task.train.ids)[order], task.train.labels[order]
        places = self.buffer.places(labels)
        taken = (places >= 0).nonzero()[:, 0]
        if len(taken):
            images, sizes = task.train.stored(ids[taken])
            self.buffer.put(places[taken], images=images, sizes=sizes, labels=labels[taken])

    def _fit(self, task: Task) -> None:
        """Train a fresh model on the buffer; every epoch sees each image once, augmented."""
        self.net = self._pretrained()
        self.net.train()
        optimiser = torch.optim.SGD(
            self.net.parameters(),
            lr=self.hp.lr,
            momentum=self.hp.momentum,
            weight_decay=self.hp.weight_decay,
        )
        self.losses = []
        for epoch in range(self.hp.fit_epochs):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(epoch, self.hp.lr, self.hp.lr_min)
            kept = self.buffer.draw(len(self.buffer))
            for rows in torch.arange(len(self.buffer)).split(self.hp.batch_size):
                generator = torch.default_generator
                images = task.train.view(kept["images"][rows], kept["sizes"][rows], generator)
                loss = self._loss(images, kept["labels"][rows].to(images.device))
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.net.parameters(), self.hp.clip_gradient)
                optimiser.step()
                self.losses.append(loss.detach())
        if not bool(torch.stack(self.losses).isfinite().all()):
            raise DivergedError(
                f"GDumb's loss on its buffer became infinite after {task.name}; lower its lr."
            )

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        if not self.hp.cutmix or float(torch.rand(())) >= self.hp.cutmix_probability:
            return F.cross_entropy(self.net(images)[:, : self.seen], labels)
        images, partner, own = cutmix(images, self.hp.cutmix)
        logits = self.net(images)[:, : self.seen]
        pasted = F.cross_entropy(logits, labels[partner.to(labels.device)])
        return own * F.cross_entropy(logits, labels) + (1 - own) * pasted

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        self.net.eval()
        return self.net(batch.images)[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        seen = {"seen": torch.tensor(self.seen)}
        return module_state(self.net, "net.") | self.buffer.state("buffer.") | seen

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net, state, "net.")
        self.buffer.load_state(state, "buffer.")
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": count_parameters(self.net), "stored": 0, "samples": len(self.buffer)}
