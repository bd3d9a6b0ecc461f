"""DualPrompt: prompts for all tasks and prompts for one.

Wang et al., "DualPrompt: Complementary Prompting for Rehearsal-free Continual Learning", ECCV 2022
(arXiv 2204.04799), Algorithms 1 and 2. Prompts are prefixes of keys and values in the attention:

    G-prompt  one, in the first layers, learned in every task
    E-prompt  one a task, in the layers after them, found by its key

    training   the task's own E-prompt; loss = CE(current classes) + pull * (1 - cos(query, key))
    testing    the E-prompt of the seen task whose key lies nearest to the query

The query is the frozen ViT's [CLS]. A new E-prompt starts from the one before it. ``batch_vote``
lets the test images of a batch choose together, as the authors' configuration for CIFAR-100 does:
then an answer depends on the images that it is tested with.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.prefixes import prefixes_at, require_layers
from starprompt.backbones.prompt_pools import head_of, limit_gradients, voted
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.data.batch import Batch
from starprompt.data.stream import Task


class DualPrompt(Learner):
    """A frozen ViT with G- and E-prompts and a linear head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values; lengths count the keys, and as many values."""

        epochs: int = Field(default=5, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.03, gt=0, description="for 256 images a batch; scaled to it")
        g_length: int = Field(default=5, ge=1)
        e_length: int = Field(default=20, ge=1)
        g_layers: tuple[int, ...] = (0, 1)
        e_layers: tuple[int, ...] = (2, 3, 4)
        start: tuple[float, float] = Field(
            default=(0.0, 0.01), description="prompts and keys start uniform between these"
        )
        head_start: Literal["zero", "uniform"] = Field(
            default="zero", description="the head's start: zeros, as released, or nn.Linear's"
        )
        pull: float = Field(default=1.0, ge=0, description="lambda")
        clip_gradient: float = Field(default=1.0, gt=0, description="largest norm of a gradient")
        clip_frozen: bool = Field(
            default=False,
            description="that norm counts the frozen ViT's gradients too, as released",
        )
        all_keys: bool = Field(
            default=False,
            description="keys of tasks to come can be chosen at test time, as released",
        )
        batch_vote: bool = Field(
            default=False, description="test images vote on their E-prompt, as released"
        )
        voters: int = Field(
            default=24, ge=1, description="images that vote together, in the order of the batch"
        )

    hp: Any

    def setup(self) -> None:
        setting, hp = self.setting, self.hp
        self.vit = PromptedViT(setting.vit()).eval().requires_grad_(hp.clip_frozen)
        require_layers(hp.g_layers, self.vit.depth, "g_layers")
        require_layers(hp.e_layers, self.vit.depth, "e_layers")
        dim, tasks = self.vit.dim, setting.stream.n_tasks
        self.shared = nn.ParameterDict(
            {"g": torch.empty(len(hp.g_layers), 2, hp.g_length, dim).uniform_(*hp.start)}
        ).to(setting.device)
        self.head = head_of(dim, setting.stream.n_classes, hp.head_start).to(setting.device)
        #: E-prompts (T, layers, 2, P, D) and keys (T, D) of all tasks: no optimiser knows them
        prompts = torch.empty(tasks, len(hp.e_layers), 2, hp.e_length, dim).uniform_(*hp.start)
        self.prompts = prompts.to(setting.device)
        self.keys = torch.empty(tasks, dim).uniform_(*hp.start).to(setting.device)
        self.tasks_seen = self.past = self.seen = 0

    @property
    def tests_tasks_apart(self) -> bool:
        """As in the authors' evaluation, only images of one task vote together."""
        return self.hp.batch_vote

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.current = task.index
        start = self.prompts[max(0, task.index - 1)]
        self.prompt = nn.Parameter(start.clone())
        self.key = nn.Parameter(self.keys[task.index].clone())
        trained = [self.prompt, self.key, *self.shared.parameters(), *self.head.parameters()]
        self.trained = trained
        lr = self.hp.lr * self.hp.batch_size / 256
        self.optimiser = torch.optim.Adam(trained, lr=lr)

    def features(self, images: Tensor, prompts: Tensor) -> Tensor:
        """(B, D) with the G-prompt and the E-prompts (B, layers, 2, P, D)."""
        tokens = {
            layer: self.shared["g"][i].expand(len(images), -1, -1, -1)
            for i, layer in enumerate(self.hp.g_layers)
        }
        tokens |= {layer: prompts[:, i] for i, layer in enumerate(self.hp.e_layers)}
        return self.vit(images, prefixes_at(self.vit.depth, tokens))

    @torch.no_grad()
    def query(self, images: Tensor) -> Tensor:
        """(B, D) unit [CLS] feature of the plain ViT."""
        return F.normalize(self.vit(images), dim=-1)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        images = self.setting.vit_normalisation(batch.images)
        prompts = self.prompt.expand(len(images), *self.prompt.shape)
        logits = self.head(self.features(images, prompts))[:, self.past : self.seen]
        cross_entropy = F.cross_entropy(logits, batch.labels - self.past)
        distance = (1 - self.query(images) @ F.normalize(self.key, dim=-1)).mean()
        loss = cross_entropy + self.hp.pull * distance
        self.optimiser.zero_grad()
        loss.backward()
        counted = self.vit if self.hp.clip_frozen else None
        limit_gradients(self.trained, self.hp.clip_gradient, counted)
        self.optimiser.step()
        return {"loss": loss, "cross_entropy": cross_entropy, "key_distance": distance}

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        self.prompts[task.index], self.keys[task.index] = self.prompt, self.key
        self.tasks_seen = task.index + 1

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        images = self.setting.vit_normalisation(batch.images)
        keys = self.keys if self.hp.all_keys else self.keys[: self.tasks_seen]
        similarity = self.query(images) @ F.normalize(keys, dim=-1).T
        chosen = similarity.argmax(dim=-1, keepdim=True)
        if self.hp.batch_vote:
            chosen = voted(chosen, len(keys), self.hp.voters)
        layer = torch.tensor([self.hp.e_layers[0]])
        self.last_selection = Selection(
            chosen, similarity.gather(1, chosen), of="task", layer=layer
        )
        return self.head(self.features(images, self.prompts[chosen[:, 0]]))[:, : self.seen]

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **module_state(self.shared, "shared."),
            **module_state(self.head, "head."),
            "prompts": self.prompts,
            "keys": self.keys,
            "tasks_seen": torch.tensor(self.tasks_seen),
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.shared, state, "shared.")
        load_module_state(self.head, state, "head.")
        self.prompts = state["prompts"].to(self.setting.device)
        self.keys = state["keys"].to(self.setting.device)
        self.tasks_seen = int(state["tasks_seen"])
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        modules = [*self.shared.parameters(), *self.head.parameters(), self.prompts, self.keys]
        return {"trained": sum(p.numel() for p in modules), "stored": 0}
