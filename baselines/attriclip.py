"""AttriCLIP: a bank of attribute prompts for CLIP's text encoder.

Wang et al., "AttriCLIP: A Non-Incremental Learner for Incremental Knowledge Learning", CVPR 2023
(arXiv 2305.11488), Sec. 3. CLIP alone, frozen:

    chosen  = the K prompts whose keys answer most to the image's feature
    text    = the chosen prompts' tokens, one after the other, then the class name
    logits  = tau * cos(image, E_txt(text of each class))
    loss    = CE(current classes) + 0.7 * key distance + 0.3 * prompt similarity

SGD's rate falls along a cosine within each task. Nothing grows with the classes. The image's
feature is the cached one of the un-augmented image. Where paper and released code
(``classifier/vcop_4.py``) part there is a switch: how prompts are chosen, what text a prompt's
similarity is of, and whether the text encoder learns within a task.
"""

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip
from starprompt.backbones.text_prompts import (
    encode_with_contexts,
    text_parameters,
    with_learning_text_tower,
)
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import UserError

#: standard deviation of prompts and keys at their start
START_STD = 0.02
#: the rate that a task ends with, as a share of the one that it begins with
LAST_RATE = 1e-3
#: texts that go through the text encoder together when nothing learns
TEXTS_AT_A_TIME = 512


class AttriCLIP(Learner):
    """Attribute prompts (N, tokens, width) and keys (N, d), shared by all tasks."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values; switches are as released, but for the text encoder."""

        epochs: int = Field(default=10, ge=1)
        batch_size: int = Field(default=32, ge=1)
        lr: float = Field(default=0.001, gt=0)
        lr_batch: int = Field(
            default=20, ge=1, description="images a batch that lr is for; scaled to the batch"
        )
        bank: int = Field(default=10, ge=2, description="N, prompts")
        tokens: int = Field(default=12, ge=1, description="of one prompt")
        top_k: int = Field(default=3, ge=1, description="K, prompts an image chooses")
        key_weight: float = Field(default=0.7, ge=0)
        similarity_weight: float = Field(default=0.3, ge=0)
        choice: Literal["dot", "cosine"] = Field(
            default="dot", description="product with the raw keys (released) or cosine (paper)"
        )
        keep_placeholders: bool = Field(
            default=True,
            description="a prompt's similarity is of a text with placeholders for the K - 1 others "
            "(released), or of the prompt alone (paper)",
        )
        tune_text_tower: bool = Field(
            default=False,
            description="the text encoder learns within a task and starts anew in the next "
            "(released), or is frozen (paper)",
        )

    train_inputs: ClassVar[tuple[str, ...]] = ("features",)
    test_inputs: ClassVar[tuple[str, ...]] = ("features",)
    augment: ClassVar[bool] = False
    hp: Any

    def setup(self) -> None:
        if self.hp.top_k > self.hp.bank:
            raise UserError(
                f"top_k {self.hp.top_k} exceeds the bank's {self.hp.bank} prompts; lower top_k or "
                "raise bank."
            )
        setting = self.setting
        self.clip = setting.clip()
        self.texts = self.clip.prompt_tokens(list(setting.stream.class_names))
        self.no_name = self.clip.embed_tokens(self.clip.tokenize(["x."]))
        shape = (self.hp.bank, self.hp.tokens, self.clip.text_width)
        prompts, keys = torch.randn(shape), torch.randn(self.hp.bank, self.clip.dim)
        self.prompts = nn.Parameter(START_STD * prompts.to(setting.device))
        self.keys = nn.Parameter(START_STD * keys.to(setting.device))
        #: with ``tune_text_tower``, the task's own CLIP
        self.tuned: FrozenClip | None = None
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self._renew_tower()
        lr = self.hp.lr * min(self.batch_size, len(task.train)) / self.hp.lr_batch
        self.optimiser = torch.optim.SGD(
            [self.prompts, self.keys, *self.tower_parameters().values()], lr=lr
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimiser,
            self.epochs * math.ceil(len(task.train) / self.batch_size),
            eta_min=LAST_RATE * lr,
        )

    @property
    def tower(self) -> FrozenClip:
        """Whose text tower encodes."""
        return self.clip if self.tuned is None else self.tuned

    def _renew_tower(self) -> None:
        if self.hp.tune_text_tower:
            self.tuned = with_learning_text_tower(self.clip)

    def tower_parameters(self) -> dict[str, nn.Parameter]:
        """By name, what learns of CLIP."""
        return {} if self.tuned is None else text_parameters(self.tuned)

    def choose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score (B, K) and index (B, K) of the keys that answer most to unit features (B, d)."""
        keys = F.normalize(self.keys, dim=-1) if self.hp.choice == "cosine" else self.keys
        most = (images @ keys.T).topk(self.hp.top_k, dim=-1)
        return most.values, most.indices

    def logits(self, images: Tensor, texts: Tensor) -> Tensor:
        """tau * cosine of unit features (..., B, d) and unit texts (..., n, d)."""
        return self.tower.model.logit_scale.exp() * images @ texts.mT

    def class_features(self, chosen: Tensor, classes: slice) -> Tensor:
        """(S, n, d) unit text features of n classes under each of S choices (S, K) of prompts."""
        texts = self.texts.select(classes)
        contexts = self.prompts[chosen].flatten(1, 2)
        every = encode_with_contexts(
            self.tower,
            type(texts)(texts.embeddings.repeat(len(chosen), 1, 1), texts.eot.repeat(len(chosen))),
            contexts.repeat_interleave(len(texts), dim=0),
        )
        return every.unflatten(0, (len(chosen), len(texts)))

    def prompt_similarity(self) -> Tensor:
        """Mean absolute cosine between the texts of two prompts without a class name."""
        n, placeholder = self.hp.bank, self.no_name.embeddings[:, 1:2]
        others = (self.hp.top_k - 1) * self.hp.tokens if self.hp.keep_placeholders else 0
        contexts = torch.cat([self.prompts, placeholder.expand(n, others, -1)], dim=1)
        texts = type(self.no_name)(
            self.no_name.embeddings.expand(n, -1, -1), self.no_name.eot.expand(n)
        )
        features = encode_with_contexts(self.tower, texts, contexts)
        pairs = ~torch.eye(n, dtype=torch.bool, device=features.device)
        return (features @ features.T)[pairs].abs().mean()

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.clip is not None
        images = F.normalize(batch.clip, dim=-1)
        _, chosen = self.choose(images)
        # Images that chose the same prompts share their texts.
        choices, choice_of = chosen.unique(dim=0, return_inverse=True)
        texts = self.class_features(choices, slice(self.past, self.seen))[choice_of]
        logits = self.logits(images[:, None], texts)[:, 0]
        cross_entropy = F.cross_entropy(logits, batch.labels - self.past)
        key_distance = 1 - (F.normalize(self.keys, dim=-1)[chosen] @ images[:, :, None]).mean()
        similarity = self.prompt_similarity()
        loss = (
            cross_entropy
            + self.hp.key_weight * key_distance
            + self.hp.similarity_weight * similarity
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return {
            "loss": loss,
            "cross_entropy": cross_entropy,
            "key_distance": key_distance,
            "prompt_similarity": similarity,
        }

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.clip is not None
        images = F.normalize(batch.clip, dim=-1)
        score, chosen = self.choose(images)
        layer = torch.zeros(self.hp.top_k, dtype=torch.int64)
        self.last_selection = Selection(chosen, score, of="pool", layer=layer)
        choices, choice_of = chosen.unique(dim=0, return_inverse=True)
        logits = images.new_zeros(len(images), self.seen)
        for i, choice in enumerate(choices):
            texts = torch.cat(
                [
                    self.class_features(
                        choice[None], slice(first, min(self.seen, first + TEXTS_AT_A_TIME))
                    )[0]
                    for first in range(0, self.seen, TEXTS_AT_A_TIME)
                ]
            )
            own = choice_of == i
            logits[own] = self.logits(images[own], texts)
        return logits

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "prompts": self.prompts.detach(),
            "keys": self.keys.detach(),
            "seen": torch.tensor(self.seen),
            **{f"tower.{name}": p.detach() for name, p in self.tower_parameters().items()},
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.prompts.copy_(state["prompts"])
        self.keys.copy_(state["keys"])
        self._renew_tower()
        for name, parameter in self.tower_parameters().items():
            parameter.copy_(state[f"tower.{name}"])
        self.past = self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        trained = [self.prompts, self.keys, *self.tower_parameters().values()]
        return {"trained": sum(p.numel() for p in trained), "stored": 0}
