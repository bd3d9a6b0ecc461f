"""LAE: learning, accumulation, ensemble of parameter-efficient modules.

Gao et al., "A Unified Continual Learning Framework with General Parameter-Efficient Tuning", ICCV
2023 (arXiv 2303.10070). A frozen ViT has an online and an offline copy of modules in its first
blocks (adapters, LoRA or prefixes), and one linear head:

    learning      Adam on the online modules and the head: CE(current classes). From the second
                  task on the modules wait for the head in the first epochs ("adaptation speed
                  calibration")
    accumulation  offline <- decay * offline + (1 - decay) * online after each step, from the
                  second task on; it starts as what the first task learned
    ensemble      each class's larger one of both copies' softmax probabilities
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import count_parameters, load_module_state, module_state
from starprompt.backbones.prefixes import require_layers
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.tuning_modules import Kind, tuned, tuning_modules
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task


class LAE(Learner):
    """A frozen ViT with online and offline modules and a linear head."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        epochs: int = Field(default=5, ge=1)
        batch_size: int = Field(default=24, ge=1)
        lr: float = Field(default=0.0028125, gt=0)
        module: Kind = "adapter"
        size: int = Field(default=5, ge=1, description="bottleneck, rank or length of the prefix")
        layers: tuple[int, ...] = (0, 1, 2, 3, 4)
        freeze_epochs: int = Field(default=3, ge=0, description="the head alone, after task 1")
        decay: float = Field(default=0.9999, ge=0, le=1, description="of the moving average")

    hp: Any

    def setup(self) -> None:
        setting, hp = self.setting, self.hp
        self.vit = PromptedViT(setting.vit()).eval()
        require_layers(hp.layers, self.vit.depth, "layers")
        modules = tuning_modules(hp.module, len(hp.layers), self.vit.dim, hp.size)
        self.online = modules.to(setting.device)
        self.offline = copy.deepcopy(self.online).requires_grad_(False)
        self.head = nn.Linear(self.vit.dim, setting.stream.n_classes).to(setting.device)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)
        self.task = self.past = self.seen = 0

    # --- learning

    def begin_task(self, task: Task) -> None:
        self.task, self.past, self.seen = task.index, task.past_classes, task.seen_classes
        trained = [*self.head.parameters(), *self.online.parameters()]
        self.optimiser = torch.optim.Adam(trained, lr=self.hp.lr)

    def begin_epoch(self, epoch: int) -> None:
        waits = self.task > 0 and epoch < self.hp.freeze_epochs
        self.online.requires_grad_(not waits)

    def logits(self, images: Tensor, modules: nn.ModuleList) -> Tensor:
        """(B, C) of normalised images (B,3,H,W) with one of the copies."""
        injections = tuned(self.vit.depth, self.hp.layers, modules, len(images))
        return self.head(self.vit(images, injections))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        images = self.setting.vit_normalisation(batch.images)
        logits = self.logits(images, self.online)[:, self.past : self.seen]
        loss = F.cross_entropy(logits, batch.labels - self.past)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if self.task > 0:
            self.accumulate(self.hp.decay)
        return {"loss": loss}

    @torch.no_grad()
    def accumulate(self, decay: float) -> None:
        """offline <- decay * offline + (1 - decay) * online."""
        for old, new in zip(self.offline.parameters(), self.online.parameters(), strict=True):
            old.copy_(decay * old + (1 - decay) * new)

    def end_task(self, task: Task) -> None:
        self.online.requires_grad_(True)
        if task.index == 0:
            self.accumulate(decay=0)

    def task_state(self) -> dict[str, Tensor] | None:
        state = super().task_state()
        return None if state is None else state | module_state(self.offline, "offline.")

    def load_task_state(self, state: dict[str, Tensor]) -> None:
        super().load_task_state(state)
        load_module_state(self.offline, state, "offline.")

    # --- ensemble

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """(B, classes seen) probabilities, the larger one of both copies: sums are 1 or more."""
        assert batch.images is not None
        images = self.setting.vit_normalisation(batch.images)
        online, offline = (
            self.logits(images, modules)[:, : self.seen].softmax(dim=-1)
            for modules in (self.online, self.offline)
        )
        return torch.maximum(online, offline)

    # --- checkpoints

    def parts(self) -> dict[str, nn.Module]:
        """What training changes, by its prefix in checkpoints."""
        return {"online.": self.online, "offline.": self.offline, "head.": self.head}

    def state_dict(self) -> dict[str, Tensor]:
        tensors = [module_state(module, prefix) for prefix, module in self.parts().items()]
        return {name: tensor for part in tensors for name, tensor in part.items()} | {
            "seen": torch.tensor(self.seen)
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for prefix, module in self.parts().items():
            load_module_state(module, state, prefix)
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        stored = sum(p.numel() for p in self.offline.parameters())
        return {"trained": count_parameters(self.online, self.head), "stored": stored}
