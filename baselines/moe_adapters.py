"""MoE-Adapters: a mixture of adapters beside every MLP of CLIP's image and text encoders.

Yu et al., "Boosting Continual Learning of Vision-Language Models via Mixture-of-Experts Adapters",
CVPR 2024 (arXiv 2403.11549), Sec. 3.2, in its class-incremental form; code
JiazuoYu/MoE-Adapters4CL@4572d97, ``cil/``:

    each block of both encoders adds sum_e gate_e adapter_e(x); router and adapters learn
    for each task: cross-entropy of tau cos(image, text) over the task's own classes, AdamW,
        whose rate warms up and falls along half a cosine, step by step
    predict by tau cos(image, text) over all classes seen

The same two experts and one router learn in every task, and both experts answer. Routers for tasks,
experts that freeze and autoencoders that choose a router belong to the paper's streams of whole
data sets (``mtil/``). A CLIP whose image encoder is a ResNet has experts in its text encoder alone,
as there.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.expert_clip import ExpertClip
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import UserError

TEMPLATE = "a bad photo of a {}."
#: texts that go through the text encoder together when nothing learns
TEXTS_AT_A_TIME = 512


def rate_factor(step: int, warmup: int, steps: int) -> float:
    """What the rate of a task's ``step`` is multiplied by (``cosine_lr``)."""
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


class MoEAdapters(Learner):
    """Frozen CLIP and the experts of all of its blocks."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values for CIFAR-100 in ten tasks."""

        epochs: int = Field(default=1, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.001, gt=0)
        warmup: int = Field(default=30, ge=0, description="steps in which the rate rises")
        weight_decay: float = Field(default=0.0, ge=0)
        experts: int = Field(default=2, ge=1, description="adapters a block")
        top_k: int = Field(default=2, ge=1, description="experts that answer")
        bottleneck: int = Field(default=64, ge=1, description="of the adapters")

    hp: Any

    def setup(self) -> None:
        setting, hp = self.setting, self.hp
        if hp.top_k > hp.experts:
            raise UserError(
                f"top_k {hp.top_k} exceeds the number of experts, {hp.experts}; lower top_k or "
                "raise experts."
            )
        clip = setting.clip()
        self.net = ExpertClip(
            clip, experts=hp.experts, top_k=hp.top_k, bottleneck=hp.bottleneck
        ).eval()
        texts = [TEMPLATE.format(name) for name in setting.stream.class_names]
        self.tokens = clip.embed_tokens(clip.tokenize(texts))
        self.texts = torch.zeros(0, clip.dim, device=setting.device)
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        #: the texts of the task's own classes, cut once: the cut waits for the device
        self.own_tokens = self.tokens.select(slice(self.past, self.seen))
        hp, steps = self.hp, self.epochs * math.ceil(len(task.train) / self.batch_size)
        self.optimiser = torch.optim.AdamW(
            self.net.experts.parameters(), lr=hp.lr, weight_decay=hp.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: rate_factor(step, hp.warmup, steps)
        )

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        self.net.train()
        images = self.net.images(batch.images)
        texts = self.net.texts(self.own_tokens)
        loss = F.cross_entropy(self.logits(images, texts), batch.labels - self.past)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return {"loss": loss}

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """(B, n): tau times the cosines of unit features (B, d) and (n, d)."""
        return self.net.clip.logit_scale * images @ texts.T

    @torch.no_grad()
    def end_task(self, task: Task) -> None:
        """All texts anew: the experts that they pass have learned."""
        self.net.eval()
        firsts = range(0, self.seen, TEXTS_AT_A_TIME)
        parts = [slice(first, min(first + TEXTS_AT_A_TIME, self.seen)) for first in firsts]
        self.texts = torch.cat([self.net.texts(self.tokens.select(part)) for part in parts])

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        self.net.eval()
        return self.logits(self.net.images(batch.images), self.texts)

    def state_dict(self) -> dict[str, Tensor]:
        return {**module_state(self.net.experts, "experts."), "texts": self.texts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_module_state(self.net.experts, state, "experts.")
        self.texts = state["texts"].to(self.setting.device)
        self.past = self.seen = len(self.texts)

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": sum(p.numel() for p in self.net.experts.parameters()), "stored": 0}
