"""Fine-tuning of the whole ViT, task by task: the lower bound; on a joint stream the upper."""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task


class Finetune(Learner):
    """Cross-entropy over all classes seen, every weight trained, nothing kept of the past."""

    class Hyperparameters(BaseHyperparameters):
        """Adam from the pretrained weights."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=1e-4, gt=0)

    hp: Any

    def setup(self) -> None:
        self.vit = self.setting.vit().requires_grad_(True)
        self.head = nn.Linear(self.vit.num_features, self.setting.stream.n_classes)
        self.head.to(self.setting.device)
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes
        self.optimiser = torch.optim.Adam(
            [*self.vit.parameters(), *self.head.parameters()], lr=self.hp.lr
        )

    def logits(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        return self.head(self.vit(self.setting.vit_normalisation(batch.images)))[:, : self.seen]

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.vit.train()
        loss = F.cross_entropy(self.logits(batch), batch.labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        self.vit.eval()
        return self.logits(batch)

    def state_dict(self) -> dict[str, Tensor]:
        weights = {f"vit.{name}": tensor for name, tensor in self.vit.state_dict().items()}
        weights |= {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        return {**weights, "seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for module, prefix in ((self.vit, "vit."), (self.head, "head.")):
            own = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
            module.load_state_dict(own)
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        trained = [*self.vit.parameters(), *self.head.parameters()]
        return {"trained": sum(p.numel() for p in trained), "stored": 0}
