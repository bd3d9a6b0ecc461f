"""CGIL: continual generative training for incremental prompt learning, on CLIP.

Frascaroli et al., "CLIP with Generative Latent Replay: a Strong Baseline for Incremental Learning",
BMVC 2024 (arXiv 2407.15793), Sec. 3. No image goes through a network that learns:

    for each task:
        one VAE a class on CLIP's features of its images
        draw features of all classes seen from their VAEs
        on them, cross-entropy of tau * cos(feature, E_txt(contexts, class name)) over all classes

A class's text has two context tokens: a vector of its own, and one that a small network makes of
the class name's own text feature. The contexts of all classes seen learn in every task.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.text_prompts import encode_with_contexts
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import DivergedError
from starprompt.replay.feature_replay import shuffled_batches
from starprompt.replay.vae import FeatureVAE

#: standard deviation of a context vector at its start
CONTEXT_STD = 0.02


def context_network(dim: int, width: int) -> nn.Sequential:
    """From text features (n, dim) to context vectors (n, width)."""
    return nn.Sequential(
        nn.Linear(dim, dim),
        nn.BatchNorm1d(dim, track_running_stats=False),
        nn.SELU(),
        nn.Linear(dim, dim),
        nn.BatchNorm1d(dim, track_running_stats=False),
        nn.SELU(),
        nn.Linear(dim, width),
        nn.BatchNorm1d(width, track_running_stats=False),
        nn.SELU(),
        nn.Linear(width, width),
    )


class CGIL(Learner):
    """Generators a class, prompts a class, and no gradient from an image."""

    class Hyperparameters(BaseHyperparameters):
        """The authors' values."""

        vae_hidden: int = Field(default=512, ge=1)
        vae_latent: int = Field(default=256, ge=1)
        vae_epochs: int = Field(default=500, ge=1)
        vae_lr: float = Field(default=2e-4, gt=0)
        align_epochs: int = Field(default=30, ge=1)
        align_lr: float = Field(default=0.05, gt=0)
        align_samples: int = Field(default=256, ge=1, description="drawn of each class an epoch")
        align_batch_size: int = Field(default=128, ge=1)

    train_inputs: ClassVar[tuple[str, ...]] = ("features",)
    test_inputs: ClassVar[tuple[str, ...]] = ("features",)
    augment: ClassVar[bool] = False
    hp: Any

    def setup(self) -> None:
        setting = self.setting
        self.clip = setting.clip()
        names = list(setting.stream.class_names)
        self.texts = self.clip.prompt_tokens(names)
        self.names = self.clip.encode_texts([f"a photo of a {name}" for name in names])
        width = self.clip.text_width
        self.net = nn.ModuleDict({"network": context_network(self.clip.dim, width)})
        self.contexts = nn.Parameter(CONTEXT_STD * torch.randn(len(names), width))
        self.net.register_parameter("contexts", self.contexts)
        self.net.to(setting.device)
        self.generators = nn.ModuleList(
            FeatureVAE(self.clip.dim, self.hp.vae_hidden, self.hp.vae_latent) for _ in names
        ).to(setting.device)
        self.keys = torch.zeros(len(names), self.clip.dim, device=setting.device)
        self.losses: list[Tensor] = []
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes

    def end_task(self, task: Task) -> None:
        features = task.train.features("clip")
        labels = task.train.labels.to(features.device)
        for label in task.current:
            own: Any = self.generators[label]
            own.fit(features[labels == label], self.hp.vae_epochs, self.hp.vae_lr)
        self._align()
        with torch.no_grad():
            self.keys[: self.seen] = self.class_features()

    def class_features(self) -> Tensor:
        """(seen, d) unit text features of the classes seen."""
        seen = slice(0, self.seen)
        made = self.net["network"](self.names[seen])
        contexts = torch.stack([self.contexts[seen], made], dim=1)
        return encode_with_contexts(self.clip, self.texts.select(seen), contexts)

    def _align(self) -> None:
        """Learn the contexts on features drawn for all seen classes."""
        optimiser = torch.optim.AdamW(self.net.parameters(), lr=self.hp.align_lr, weight_decay=0.0)
        self.losses = []
        generators: list[Any] = list(self.generators)[: self.seen]
        for _ in range(self.hp.align_epochs):
            drawn = torch.stack([own.sample(self.hp.align_samples) for own in generators])
            for features, labels in shuffled_batches(drawn, self.hp.align_batch_size):
                images = F.normalize(features, dim=-1)
                logits = self.clip.logit_scale * images @ self.class_features().T
                loss = F.cross_entropy(logits, labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                self.losses.append(loss.detach())
        if not bool(torch.stack(self.losses).isfinite().all()):
            raise DivergedError(
                "CGIL's loss on drawn features became infinite; lower its align_lr."
            )

    def predict(self, batch: Batch) -> Tensor:
        assert batch.clip is not None
        images = F.normalize(batch.clip, dim=-1)
        return self.clip.logit_scale * images @ self.keys[: self.seen].T

    def state_dict(self) -> dict[str, Tensor]:
        generators = nn.ModuleList(list(self.generators)[: self.seen])
        return {
            **module_state(self.net, "net."),
            **module_state(generators, "generators."),
            "keys": self.keys,
            "seen": torch.tensor(self.seen),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.seen = int(state["seen"])
        load_module_state(self.net, state, "net.")
        generators = nn.ModuleList(list(self.generators)[: self.seen]).eval()
        load_module_state(generators, state, "generators.")
        self.keys = state["keys"].to(self.setting.device)

    def parameter_counts(self) -> dict[str, int]:
        decoders: list[Any] = [own.decoder for own in list(self.generators)[: self.seen]]
        stored = sum(p.numel() for decoder in decoders for p in decoder.parameters())
        return {"trained": sum(p.numel() for p in self.net.parameters()), "stored": stored}
