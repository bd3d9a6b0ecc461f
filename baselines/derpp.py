"""DER++: dark experience replay with labels.

Buzzega et al., "Dark Experience for General Continual Learning: a Strong, Simple Baseline",
NeurIPS 2020, Algorithm 2. A reservoir holds images, labels and the logits that the model gave them
when they were stored:

    loss = CE(batch) + alpha * MSE(logits of a first draw, its stored logits)
                     + beta  * CE(logits of a second draw, its labels)
    offer the batch to the reservoir, at every step

Both cross-entropies run over all logits, those of classes to come included, as in the authors'
released code (mammoth, ``models/derpp.py``).
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from starprompt.backbones.classifier import (
    Classifier,
    count_parameters,
    load_module_state,
    module_state,
)
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.replay.buffers import ReservoirBuffer


class DERpp(Learner):
    """Fine-tuning with replay of stored images, labels and logits; replayed images are augmented
    anew."""

    class Hyperparameters(BaseHyperparameters):
        """Adam from the pretrained weights, as fine-tuning's; alpha and beta are the authors'."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=1e-4, gt=0)
        buffer: int = Field(default=500, ge=0, description="images kept")
        replay_batch_size: int = Field(default=128, ge=1, description="of each of the two draws")
        alpha: float = Field(default=0.3, ge=0)
        beta: float = Field(default=0.5, ge=0)
        all_logits: bool = Field(
            default=True,
            description="cross-entropies over the classes of the whole stream, as released, or "
            "over those seen so far",
        )

    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.net = Classifier(
            setting.vit(), setting.stream.n_classes, setting.vit_normalisation
        ).to(setting.device)
        self.buffer = ReservoirBuffer(self.hp.buffer)
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.task, self.seen = task, task.seen_classes
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=self.hp.lr)

    @property
    def width(self) -> int:
        """How many logits, from the first on, the cross-entropies run over."""
        return self.setting.stream.n_classes if self.hp.all_logits else self.seen

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.net.train()
        logits = self.net(batch.images)
        loss = F.cross_entropy(logits[:, : self.width], batch.labels)
        if len(self.buffer):
            images, kept = self.draw()
            loss = loss + self.hp.alpha * F.mse_loss(self.net(images), kept["logits"])
            images, kept = self.draw()
            again = self.net(images)[:, : self.width]
            loss = loss + self.hp.beta * F.cross_entropy(again, kept["labels"])
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.offer(batch, logits)
        return {"loss": loss}

    def draw(self) -> tuple[Tensor, dict[str, Tensor]]:
        """A draw from the reservoir: an augmented view of its images, and what is kept of them."""
        kept = self.buffer.draw(self.hp.replay_batch_size)
        images = self.task.train.view(kept["images"], kept["sizes"], torch.default_generator)
        return images, {name: kept[name].to(images.device) for name in ("labels", "logits")}

    def offer(self, batch: Batch, logits: Tensor) -> None:
        """Offer the batch to the reservoir, as it was before augmentation."""
        places = self.buffer.places(batch.labels)
        taken = (places >= 0).nonzero()[:, 0]
        if not len(taken):
            return
        images, sizes = self.task.train.stored(batch.ids.cpu()[taken])
        on_device = taken.to(logits.device)
        self.buffer.put(
            places[taken],
            images=images,
            sizes=sizes,
            labels=batch.labels[on_device],
            logits=logits[on_device],
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        self.net.eval()
        return self.net(batch.images)[:, : self.seen]

    def task_state(self) -> dict[str, Tensor]:
        return (super().task_state() or {}) | self.buffer.state("buffer.")

    def load_task_state(self, state: dict[str, Tensor]) -> None:
        super().load_task_state(state)
        self.buffer.load_state(state, "buffer.")

    def state_dict(self) -> dict[str, Tensor]:
        seen = {"seen": torch.tensor(self.seen)}
        return module_state(self.net, "net.") | self.buffer.state("buffer.") | seen

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net, state, "net.")
        self.buffer.load_state(state, "buffer.")
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        logits = self.buffer.fields.get("logits")
        stored = 0 if logits is None else len(self.buffer) * logits.shape[1]
        return {
            "trained": count_parameters(self.net),
            "stored": stored,
            "samples": len(self.buffer),
        }
