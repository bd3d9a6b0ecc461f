"""HiDe-Prompt: hierarchical decomposition of prompt-based continual learning.

Wang et al., "Hierarchical Decomposition of Prompt-Based Continual Learning: Rethinking Obscured
Sub-optimality", NeurIPS 2023 (arXiv 2310.07234), Algorithm 1. Three parts on a frozen ViT:

    task-identity inference   an MLP and a head on the plain [CLS] feature: its class's task
    within-task prediction    a prefix of each task's own, in the first layers, and a head; it
                              starts as the task before's, and so much of the past ones' mean is
                              mixed in:  p <- (1 - momentum) p + momentum mean(past p)
                              loss = CE(current classes) + contrast * CE(M M^T / 0.8, identity)
                              with M the past classes' centroids and the batch's features
    task-adaptive prediction  after each task but the first: both heads on draws around several
                              centroids of every class so far, with and without prompts

Both learn from the same batches and share nothing that learns.
"""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import count_parameters, load_module_state, module_state
from starprompt.backbones.heads import MappedHead, linear_head
from starprompt.backbones.prefixes import prefixes_at, require_layers
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.continual.schedules import half_cosine, stepped
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.replay.centroids import Centroids
from starprompt.replay.head_alignment import align_by_epochs


def contrast(features: Tensor, means: Tensor) -> Tensor:
    """Cross-entropy of telling each of features (B, D) and means (R, D) from all others."""
    rows = torch.cat([means, features])
    return F.cross_entropy(rows @ rows.T / 0.8, torch.arange(len(rows), device=rows.device))


class HiDePrompt(Learner):
    """A frozen ViT with a prefix for each task, an identity head and a linear head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=50, ge=1)
        batch_size: int = Field(default=192, ge=1)
        lr: float = Field(default=0.0028125, gt=0, description="of the prompts")
        head_factor: float = Field(default=0.1, gt=0, description="head's lr over the prompts'")
        #: "step" takes a tenth every 30 epochs; both lag by one epoch, as released
        schedule: Literal["step", "cosine"] = "step"
        identity_epochs: int = Field(default=20, ge=0, description="the identity head's: the first")
        identity_lr: float = Field(default=4.6875e-5, gt=0)
        hidden: int = Field(default=2, ge=1, description="width of the identity head's MLP over D")
        length: int = Field(default=5, ge=1)
        layers: tuple[int, ...] = (0, 1, 2, 3, 4)
        momentum: float = Field(default=0.01, ge=0, le=1)
        contrast: float = Field(default=0.1, ge=0, description="lambda")
        clip_gradient: float = Field(default=1.0, gt=0, description="largest norm of a gradient")
        centroids: int = Field(default=10, ge=1, description="of each class")
        align_epochs: int = Field(default=30, ge=0)
        align_lr: float = Field(default=0.005, gt=0)
        align_batch_size: int = Field(default=120, ge=1)
        identity_align_lr: float = Field(default=4.6875e-4, gt=0)
        identity_align_batch_size: int = Field(default=24, ge=1)

    hp: Any

    def setup(self) -> None:
        setting, hp = self.setting, self.hp
        self.vit = PromptedViT(setting.vit()).eval()
        require_layers(hp.layers, self.vit.depth, "layers")
        dim, classes, device = self.vit.dim, setting.stream.n_classes, setting.device
        self.identity = MappedHead(dim, hp.hidden, classes).to(device)
        self.head = linear_head(dim, classes).to(device)
        #: prefixes (T, L, 2, P, D) of all tasks: no optimiser knows them
        shape = (setting.stream.n_tasks, len(hp.layers), 2, hp.length, dim)
        self.prompts = torch.empty(shape).uniform_(-1, 1).to(device)
        self.plain = self.prompted = Centroids.none(dim, device)
        self.task_of_class = setting.stream.task_of_class().to(device)
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.prompt = nn.Parameter(self.prompts[max(0, task.index - 1)].clone())
        self.past_prompt = self.prompts[: task.index].mean(dim=0) if task.index else None
        trained = ([self.prompt], self.head.parameters(), self.identity.parameters())
        self.optimiser = torch.optim.Adam([{"params": list(part)} for part in trained])

    def begin_epoch(self, epoch: int) -> None:
        hp, place = self.hp, max(0, epoch - 1)
        self.infers = epoch < hp.identity_epochs
        rates = [hp.lr, hp.lr * hp.head_factor]
        if hp.schedule == "step":
            rates = [rate * stepped(place, every=30) for rate in rates]
        else:
            rates = [half_cosine(place, self.epochs, rate, least=1e-5) for rate in rates]
        for group, rate in zip(self.optimiser.param_groups, [*rates, hp.identity_lr], strict=True):
            group["lr"] = rate

    def mixed(self) -> Tensor:
        """(L, 2, P, D) the task's prefix with its share of the past ones' mean."""
        if self.past_prompt is None:
            return self.prompt
        return torch.lerp(self.prompt, self.past_prompt, self.hp.momentum)

    def features(self, images: Tensor, prompts: Tensor) -> Tensor:
        """(B, D) of normalised images with prefixes (B, L, 2, P, D)."""
        tokens = {layer: prompts[:, i] for i, layer in enumerate(self.hp.layers)}
        return self.vit(images, prefixes_at(self.vit.depth, tokens))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        images, labels = self.setting.vit_normalisation(batch.images), batch.labels - self.past
        prompt = self.mixed()
        features = self.features(images, prompt.expand(len(images), *prompt.shape))
        own = self.head(features)[:, self.past : self.seen]
        losses = {
            "cross_entropy": F.cross_entropy(own, labels),
            "contrast": self.hp.contrast * contrast(features, self.prompted.means),
        }
        if self.infers:
            with torch.no_grad():
                plain = self.vit(images)
            own = self.identity(plain)[:, self.past : self.seen]
            losses["identity"] = F.cross_entropy(own, labels)
        loss = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad()
        loss.backward()
        for part in ([self.prompt, *self.head.parameters()], self.identity.parameters()):
            nn.utils.clip_grad_norm_(part, self.hp.clip_gradient)
        self.optimiser.step()
        return {"loss": loss, **losses}

    def end_task(self, task: Task) -> None:
        hp = self.hp
        with torch.no_grad():
            self.prompts[task.index] = self.mixed()
            self._keep_centroids(task)
        if task.index:  # as many batches an epoch as there are past classes
            draws = partial(self.plain.batches, hp.identity_align_batch_size, self.past)
            align_by_epochs(self.identity, draws, hp.align_epochs, hp.identity_align_lr, self.seen)
            draws = partial(self.prompted.batches, hp.align_batch_size, self.past)
            align_by_epochs(self.head, draws, hp.align_epochs, hp.align_lr, self.seen)

    def _keep_centroids(self, task: Task) -> None:
        """Of the clean images' features, without and with the task's prefix."""
        rows = []
        for batch in task.train.batches(self.batch_size):
            assert batch.images is not None
            images = self.setting.vit_normalisation(batch.images)
            prompts = self.prompts[task.index].expand(len(images), *self.prompts.shape[1:])
            rows.append((batch.labels, self.vit(images), self.features(images, prompts)))
        labels, plain, prompted = (torch.cat(parts) for parts in zip(*rows, strict=True))
        self.plain = self.plain.fit(plain, labels, task.current, self.hp.centroids)
        self.prompted = self.prompted.fit(prompted, labels, task.current, self.hp.centroids)

    # --- predicting

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        images = self.setting.vit_normalisation(batch.images)
        sureness, chosen = self.identity(self.vit(images))[:, : self.seen].softmax(-1).max(dim=-1)
        task = self.task_of_class[chosen]
        first = torch.tensor([self.hp.layers[0]])
        self.last_selection = Selection(task[:, None], sureness[:, None], of="task", layer=first)
        return self.head(self.features(images, self.prompts[task]))[:, : self.seen]

    # --- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **module_state(self.head, "head."),
            **module_state(self.identity, "identity."),
            **self.plain.state("plain."),
            **self.prompted.state("prompted."),
            "prompts": self.prompts,
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        state = {name: tensor.to(self.setting.device) for name, tensor in state.items()}
        load_module_state(self.head, state, "head.")
        load_module_state(self.identity, state, "identity.")
        self.plain = Centroids.from_state(state, "plain.")
        self.prompted = Centroids.from_state(state, "prompted.")
        self.prompts = state["prompts"]
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        kept = [t for c in (self.plain, self.prompted) for t in (c.means, c.variances)]
        trained = count_parameters(self.identity, self.head) + self.prompts.numel()
        return {"trained": trained, "stored": sum(tensor.numel() for tensor in kept)}
