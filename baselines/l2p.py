"""L2P: learning to prompt.

Wang et al., "Learning to Prompt for Continual Learning", CVPR 2022 (arXiv 2112.08654), Sec. 4:

    query   = [CLS] of the frozen ViT
    chosen  = the N prompts whose keys lie nearest to the query (cosine)
    feature = mean of the outputs at the chosen prompts' tokens, prepended to the image's
    loss    = CE(current classes) - pull * sum of the chosen keys' similarities

Each image chooses for itself. ``batch_vote`` lets the images of a batch vote, as the authors'
configurations do: then a test image's answer depends on the images that it is tested with.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.prompt_pools import head_of, limit_gradients, voted
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import UserError


class PromptPool(nn.Module):
    """``size`` prompts of ``length`` tokens (size, length, D) and their keys (size, D)."""

    def __init__(self, size: int, length: int, dim: int, start: tuple[float, float]) -> None:
        super().__init__()
        self.prompts = nn.Parameter(torch.empty(size, length, dim).uniform_(*start))
        self.keys = nn.Parameter(torch.empty(size, dim).uniform_(*start))

    def choose(self, query: Tensor, n: int, voters: int | None = None) -> tuple[Tensor, Tensor]:
        """Cosine (B, n) and index (B, n) of the ``n`` nearest keys, nearest first, or of the
        ``n`` that every ``voters`` images elect."""
        similarity = F.normalize(query, dim=-1) @ F.normalize(self.keys, dim=-1).T
        chosen = similarity.topk(n, dim=-1).indices
        chosen = chosen if voters is None else voted(chosen, len(self.keys), voters)
        return similarity.gather(1, chosen), chosen


class L2P(Learner):
    """A pool of prompts that all tasks share, a frozen ViT, a linear head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=5, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.03, gt=0, description="for 256 images a batch; scaled to it")
        pool: int = Field(default=10, ge=1, description="prompts")
        length: int = Field(default=5, ge=1, description="tokens of a prompt")
        top_k: int = Field(default=5, ge=1, description="N, prompts an image chooses")
        start: tuple[float, float] = Field(
            default=(0.0, 0.01), description="prompts and keys start uniform between these"
        )
        head_start: Literal["zero", "uniform"] = Field(
            default="zero", description="the head's start: zeros, as released, or nn.Linear's"
        )
        pull: float = Field(default=0.1, ge=0, description="lambda")
        clip_gradient: float = Field(default=1.0, gt=0, description="largest norm of a gradient")
        clip_frozen: bool = Field(
            default=False,
            description="that norm counts the frozen ViT's gradients too, as released",
        )
        batch_vote: bool = Field(
            default=False, description="images vote on their prompts, as released"
        )
        voters: int = Field(
            default=16, ge=1, description="images that vote together, in the order of the batch"
        )

    hp: Any

    def setup(self) -> None:
        if self.hp.top_k > self.hp.pool:
            raise UserError(
                f"top_k {self.hp.top_k} exceeds the pool's {self.hp.pool} prompts; lower top_k or "
                "raise pool."
            )
        self.vit = PromptedViT(self.setting.vit()).eval().requires_grad_(self.hp.clip_frozen)
        self.pool = PromptPool(self.hp.pool, self.hp.length, self.vit.dim, self.hp.start)
        self.head = head_of(self.vit.dim, self.setting.stream.n_classes, self.hp.head_start)
        self.net = nn.ModuleDict({"pool": self.pool, "head": self.head}).to(self.setting.device)
        self.past = self.seen = 0

    @property
    def tests_tasks_apart(self) -> bool:
        """As in the authors' evaluation, only images of one task vote together."""
        return self.hp.batch_vote

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        lr = self.hp.lr * self.hp.batch_size / 256
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=lr)

    def features(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D) feature, (B, N) similarity and (B, N) index of the chosen prompts."""
        assert batch.images is not None
        images, pool = self.setting.vit_normalisation(batch.images), self.pool
        with torch.no_grad():
            query = self.vit(images)
        voters = self.hp.voters if self.hp.batch_vote else None
        similarity, chosen = pool.choose(query, self.hp.top_k, voters)
        prompts = pool.prompts[chosen].flatten(1, 2)
        tokens = self.vit.tokens(images, prepended=prompts, leading=prompts.shape[1])
        return tokens.mean(dim=1), similarity, chosen

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        features, similarity, _ = self.features(batch)
        logits = self.head(features)[:, self.past : self.seen]
        cross_entropy = F.cross_entropy(logits, batch.labels - self.past)
        nearness = similarity.sum(dim=1).mean()
        loss = cross_entropy - self.hp.pull * nearness
        self.optimiser.zero_grad()
        loss.backward()
        counted = self.vit if self.hp.clip_frozen else None
        limit_gradients(list(self.net.parameters()), self.hp.clip_gradient, counted)
        self.optimiser.step()
        return {"loss": loss, "cross_entropy": cross_entropy, "nearness": nearness}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        features, similarity, chosen = self.features(batch)
        layer = torch.zeros(self.hp.top_k, dtype=torch.int64)
        self.last_selection = Selection(chosen, similarity, of="pool", layer=layer)
        return self.head(features)[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return module_state(self.net) | {"seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net, state)
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": sum(p.numel() for p in self.net.parameters()), "stored": 0}
