"""CODA-Prompt: prompts composed of weighted components.

Smith et al., "CODA-Prompt: COntinual Decomposed Attention-based Prompting for Rehearsal-Free
Continual Learning", CVPR 2023 (arXiv 2211.13218), Sec. 4:

    weight_m = cos(query * a_m, k_m)          query: [CLS] of the frozen ViT
    prompt   = sum_m weight_m p_m             in each prompted layer; half keys, half values
    loss     = CE(current classes) + orthogonality * (of p, k and a)

Every task owns an equal share of the components; those of earlier tasks are frozen, those of later
ones take no part, and a task's own start orthonormal to all before them. The rate falls along a
cosine, which in the released code (``utils/schedulers.py``) lags by one epoch: its first step
counts from the epoch before the first.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.prefixes import prefixes_at, require_layers
from starprompt.backbones.prompt_pools import orthonormal_rows
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.continual.schedules import cosine_factor
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import UserError

KINDS = ("prompts", "keys", "attention")


def component_weights(query: Tensor, attention: Tensor, keys: Tensor) -> Tensor:
    """(B, M) cos(query * a_m, k_m) of query (B, d), attention and keys (M, d).

    Two matrix products: no (B, M, d) tensor exists.
    """
    numerator = query @ (attention * F.normalize(keys, dim=-1)).T
    squared_norm = query.square() @ attention.square().T
    return numerator / squared_norm.sqrt().clamp_min(1e-12)


def orthogonality(rows: Tensor) -> Tensor:
    """Mean squared entry of R R^T - I for rows (M, ...), flattened."""
    flat = rows.flatten(1)
    return (flat @ flat.T - torch.eye(len(flat), device=rows.device)).square().mean()


class CodaPrompt(Learner):
    """A frozen ViT, composed prefixes and a linear head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.001, gt=0)
        components: int = Field(default=100, ge=1, description="M, of all tasks together")
        length: int = Field(default=8, ge=2, multiple_of=2, description="half keys, half values")
        layers: tuple[int, ...] = (0, 1, 2, 3, 4)
        orthogonality: float = Field(default=0.0, ge=0, description="lambda")
        schedule: Literal["released", "cosine"] = Field(
            default="released", description="released: the cosine lags by one epoch"
        )

    hp: Any

    def setup(self) -> None:
        setting, hp = self.setting, self.hp
        self.vit = PromptedViT(setting.vit()).eval()
        require_layers(hp.layers, self.vit.depth, "layers")
        self.share = hp.components // setting.stream.n_tasks
        dim = self.vit.dim
        if not 0 < self.share * setting.stream.n_tasks <= dim:
            raise UserError(
                f"CODA-Prompt cannot divide {hp.components} components among "
                f"{setting.stream.n_tasks} tasks: every task needs at least one, and all "
                f"tasks together may use at most {dim}, the ViT's dimensions; change "
                "`components`."
            )
        #: all components by layer (layers, M, ...): no optimiser knows them
        shapes = {"prompts": (hp.length * dim,), "keys": (dim,), "attention": (dim,)}
        total = self.share * setting.stream.n_tasks
        self.pool = {
            kind: torch.zeros(len(hp.layers), total, *shape, device=setting.device)
            for kind, shape in shapes.items()
        }
        self.own: dict[str, nn.Parameter] = {}
        self.head = nn.Linear(dim, setting.stream.n_classes).to(setting.device)
        self.tasks_seen = self.past = self.seen = 0

    # --- learning a task

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.tasks_seen = task.index
        for kind in KINDS:
            of_past = self._of_past(kind)
            start = torch.stack([orthonormal_rows(self.share, rows) for rows in of_past])
            self.own[kind] = nn.Parameter(start)
        trained = [*self.own.values(), *self.head.parameters()]
        self.optimiser = torch.optim.Adam(trained, lr=self.hp.lr)

    def begin_epoch(self, epoch: int) -> None:
        place = max(0, epoch - 1) if self.hp.schedule == "released" else epoch
        for group in self.optimiser.param_groups:
            group["lr"] = self.hp.lr * cosine_factor(place, self.epochs)

    def _of_past(self, kind: str) -> Tensor:
        return self.pool[kind][:, : self.tasks_seen * self.share]

    def components(self) -> dict[str, Tensor]:
        """By kind (layers, M', ...): past tasks' components and those that learn, if any do."""
        return {
            kind: torch.cat([self._of_past(kind), self.own[kind]], dim=1)
            if self.own
            else self._of_past(kind)
            for kind in KINDS
        }

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) feature and (B, layers, M') component weights."""
        with torch.no_grad():
            query = self.vit(images)
        parts = self.components()
        tokens, weights = {}, []
        for i, layer in enumerate(self.hp.layers):
            weight = component_weights(query, parts["attention"][i], parts["keys"][i])
            prompt = weight @ parts["prompts"][i]
            tokens[layer] = prompt.view(len(images), 2, self.hp.length // 2, self.vit.dim)
            weights.append(weight)
        feature = self.vit(images, prefixes_at(self.vit.depth, tokens))
        return feature, torch.stack(weights, dim=1)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        features, _ = self.features(self.setting.vit_normalisation(batch.images))
        logits = self.head(features)[:, self.past : self.seen]
        losses = {"cross_entropy": F.cross_entropy(logits, batch.labels - self.past)}
        loss = losses["cross_entropy"]
        if self.hp.orthogonality:
            terms = [orthogonality(rows) for part in self.components().values() for rows in part]
            losses["orthogonality"] = torch.stack(terms).sum()
            loss = loss + self.hp.orthogonality * losses["orthogonality"]
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss, **losses}

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        first = task.index * self.share
        for kind in KINDS:
            self.pool[kind][:, first : first + self.share] = self.own[kind]
        self.own = {}
        self.tasks_seen = task.index + 1

    # --- predicting

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        features, weights = self.features(self.setting.vit_normalisation(batch.images))
        self.last_selection = self._selection(weights)
        return self.head(features)[:, : self.seen]

    def _selection(self, weights: Tensor) -> Selection:
        """How much of each layer's prompt is of each task: |weights| summed by task of origin."""
        by_task = weights.unflatten(-1, (-1, self.share))
        size = by_task.abs().sum(dim=-1)
        share = size / size.sum(dim=-1, keepdim=True).clamp_min(1e-12)
        task = torch.arange(size.shape[-1], device=size.device).expand_as(size)
        layer = torch.tensor(self.hp.layers).repeat_interleave(size.shape[-1])
        return Selection(
            task.flatten(1),
            by_task.sum(dim=-1).flatten(1),
            of="task",
            layer=layer,
            weight=share.flatten(1),
        )

    # --- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **self.pool,
            **module_state(self.head, "head."),
            "tasks_seen": torch.tensor(self.tasks_seen),
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.head, state, "head.")
        self.pool = {kind: state[kind].to(self.setting.device) for kind in KINDS}
        self.own = {}
        self.tasks_seen = int(state["tasks_seen"])
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        tensors = [*self.pool.values(), *self.head.parameters()]
        return {"trained": sum(tensor.numel() for tensor in tensors), "stored": 0}
