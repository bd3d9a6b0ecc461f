"""InfLoRA: interference-free low-rank adaptation.

Liang and Li, "InfLoRA: Interference-Free Low-Rank Adaptation for Continual Learning", CVPR 2024
(arXiv 2404.00228), Algorithm 1. The key and value projections of every block learn W <- W + B A:

    for each task:
        H = second moment of the inputs of the block's attention       (r, the rank)
        A = first r left singular vectors of H's part outside the gradient space of the old
            tasks, over sqrt(3)                                         (Sec. 3.2, Eq. 8)
        Adam on B and the task's own head, A fixed: CE(current classes)
        grow the gradient space by the inputs of this task (DualGPM, Sec. 3.3)
        W <- W + B A

A step that changes B alone moves W by rows of A only, which the old tasks' inputs don't see. The
logits of all heads are compared at test time.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.blocks import Injection
from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.lora import low_rank_at, merge_low_rank
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.continual.schedules import cosine_factor
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import UserError
from starprompt.precision import exactly
from starprompt.replay.gradient_space import GradientSpace


def of_both(down: Tensor) -> Tensor:
    """(L, 2, r, D): A of keys and of values, which are one and the same ``down`` (L, r, D)."""
    return down[:, None].expand(-1, 2, -1, -1)


class InfLoRA(Learner):
    """A frozen ViT whose keys and values learn within designed subspaces, and a linear head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.0005, gt=0)
        rank: int = Field(default=10, ge=1, description="r")
        threshold: float = Field(
            default=0.95, gt=0, le=1, description="epsilon of the first task; it nears 1 by tasks"
        )
        schedule: Literal["released", "cosine"] = Field(
            default="released", description="released: the cosine lags by one epoch"
        )

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.net = PromptedViT(setting.vit()).eval()
        dim, depth, rank = self.net.dim, self.net.depth, self.hp.rank
        if rank > dim:
            raise UserError(f"rank {rank} exceeds the ViT's {dim} dimensions; lower it.")
        self.layers = range(depth)
        tasks, device = setting.stream.n_tasks, setting.device
        #: A (T, L, r, D), of keys and values alike, and B (T, L, 2, D, r) of the tasks so far
        self.downs = torch.zeros(tasks, depth, rank, dim, device=device)
        self.ups = torch.zeros(tasks, depth, 2, dim, rank, device=device)
        nothing = torch.zeros(dim, 0, device=device)
        self.spaces = [GradientSpace(nothing)] * depth
        self.head = nn.Linear(dim, setting.stream.n_classes).to(device)
        self.tasks_seen = self.past = self.seen = 0

    # --- learning a task

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.down = self.designed(self.moments(task))
        self.up = nn.Parameter(torch.zeros_like(self.ups[task.index]))
        self.optimiser = torch.optim.Adam([self.up, *self.head.parameters()], lr=self.hp.lr)

    def begin_epoch(self, epoch: int) -> None:
        place = max(0, epoch - 1) if self.hp.schedule == "released" else epoch
        for group in self.optimiser.param_groups:
            group["lr"] = self.hp.lr * cosine_factor(place, self.epochs)

    def updates(self) -> list[Injection]:
        """One low-rank update a block: of the task that is being learned."""
        return low_rank_at(self.net.depth, self.layers, of_both(self.down), self.up)

    @torch.no_grad()
    @exactly()
    def moments(self, task: Task, updates: list[Injection] | None = None) -> Tensor:
        """(L, D, D) mean of x x^T over the inputs x of each block's attention, augmented views."""
        total, rows = torch.zeros(self.net.depth, 1, 1, device=self.setting.device), 0
        for batch in task.train.batches(self.batch_size, augment=True):
            assert batch.images is not None
            images = self.setting.vit_normalisation(batch.images)
            inputs = [x.flatten(0, 1) for x in self.net.attention_inputs(images, updates)]
            total = total + torch.stack([x.T @ x for x in inputs])
            rows += len(inputs[0])
        return total / rows

    @exactly()
    def designed(self, moments: Tensor) -> Tensor:
        """A (L, r, D) of a new task from its ``moments`` (L, D, D)."""
        pairs = zip(self.spaces, moments, strict=True)
        directions = [space.directions_outside(moment) for space, moment in pairs]
        return torch.stack([one[:, : self.hp.rank].T for one in directions]) / math.sqrt(3)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        features = self.net(self.setting.vit_normalisation(batch.images), self.updates())
        logits = self.head(features)[:, self.past : self.seen]
        loss = F.cross_entropy(logits, batch.labels - self.past)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss}

    @torch.no_grad()
    @exactly()
    def end_task(self, task: Task) -> None:
        moments = self.moments(task, self.updates())
        share = task.index / self.setting.stream.n_tasks
        threshold = self.hp.threshold + (1 - self.hp.threshold) * share
        self.spaces = [
            space.grown(moment, threshold)
            for space, moment in zip(self.spaces, moments, strict=True)
        ]
        self.downs[task.index], self.ups[task.index] = self.down, self.up
        self._merge(task.index)
        self.tasks_seen = task.index + 1

    def _merge(self, task: int) -> None:
        """W <- W + B A of a task."""
        merge_low_rank(self.net, self.layers, of_both(self.downs[task]), self.ups[task])

    # --- predicting

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        features = self.net(self.setting.vit_normalisation(batch.images))
        return self.head(features)[:, : self.seen]

    # --- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **module_state(self.head, "head."),
            **{f"space.{layer}": space.basis for layer, space in enumerate(self.spaces)},
            "complement": torch.tensor([space.complement for space in self.spaces]),
            "downs": self.downs,
            "ups": self.ups,
            "tasks_seen": torch.tensor(self.tasks_seen),
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.head, state, "head.")
        device = self.setting.device
        self.spaces = [
            GradientSpace(state[f"space.{layer}"].to(device), bool(complement))
            for layer, complement in enumerate(state["complement"])
        ]
        self.downs, self.ups = state["downs"].to(device), state["ups"].to(device)
        self.tasks_seen = int(state["tasks_seen"])
        self.past = self.seen = int(state["seen"])
        for task in range(self.tasks_seen):
            self._merge(task)

    def parameter_counts(self) -> dict[str, int]:
        trained = [self.ups, *self.head.parameters()]
        stored = [space.basis for space in self.spaces]
        counts = {"trained": trained, "stored": stored}
        return {name: sum(t.numel() for t in tensors) for name, tensors in counts.items()}
