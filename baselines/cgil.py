"""CGIL: continual generative training for incremental prompt learning, on CLIP.

Frascaroli et al., "CLIP with Generative Latent Replay: a Strong Baseline for Incremental Learning",
BMVC 2024 (arXiv 2407.15793), Sec. 3. No image goes through a network that learns:

    for each task:
        one VAE a class on CLIP's features of its images
        draw features of all classes seen from their VAEs
        on them, cross-entropy of tau * cos(feature, E_txt(contexts, class name)) over all classes

A class's text has two context tokens: a vector of its own, and one that a small network makes of
the class name's own text feature. The contexts of all classes seen learn in every task.

Two choices follow the released code (mammoth, ``models/cgil.py``, ``models/cgil_utils``) and have a
switch for what a reader would expect: the network's batch norms stay in evaluation mode with the
mean 0 and variance 1 that they start with, and a posterior sample's noise is multiplied by the
variance.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.backbones.classifier import load_module_state, module_state
from starprompt.backbones.text_prompts import encode_with_contexts
from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import DivergedError, UserError
from starprompt.replay.feature_replay import shuffled_batches
from starprompt.replay.vae import FeatureVAE

#: standard deviation of a context vector at its start
CONTEXT_STD = 0.02


def context_network(dim: int, width: int, batch_statistics: bool) -> nn.Sequential:
    """From text features (n, dim) to context vectors (n, width), in evaluation mode.

    Its batch norms use mean 0 and variance 1, or with ``batch_statistics`` those of the n.
    """

    def norm(n: int) -> nn.BatchNorm1d:
        return nn.BatchNorm1d(n, track_running_stats=not batch_statistics)

    return nn.Sequential(
        nn.Linear(dim, dim),
        norm(dim),
        nn.SELU(),
        nn.Linear(dim, dim),
        norm(dim),
        nn.SELU(),
        nn.Linear(dim, width),
        norm(width),
        nn.SELU(),
        nn.Linear(width, width),
    ).eval()


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
        batch_statistics: bool = Field(
            default=False,
            description="batch norms of the context network normalise over the classes seen; as "
            "released they keep mean 0 and variance 1",
        )
        posterior_noise: Literal["variance", "deviation"] = Field(
            default="variance",
            description="what multiplies a posterior sample's noise: the variance, as released, or "
            "the standard deviation",
        )

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
        network = context_network(self.clip.dim, width, self.hp.batch_statistics)
        self.net = nn.ModuleDict({"network": network})
        drawn = CONTEXT_STD * torch.randn(len(names), width)
        self.contexts = nn.Parameter(drawn.to(setting.device))
        self.net.register_parameter("contexts", self.contexts)
        self.net.to(setting.device)
        self.generators = nn.ModuleList(
            FeatureVAE(
                self.clip.dim, self.hp.vae_hidden, self.hp.vae_latent, self.hp.posterior_noise
            )
            for _ in names
        ).to(setting.device)
        self.keys = torch.zeros(len(names), self.clip.dim, device=setting.device)
        self.losses: list[Tensor] = []
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes
        counts = task.train.labels.bincount(minlength=self.seen)[task.past_classes :]
        name = self.setting.stream.class_names[task.past_classes + int(counts.argmin())]
        if int(counts.min()) < 2:
            raise UserError(
                f"CGIL cannot train a generator for the class {name!r}: it needs two training "
                f"images, and there is {int(counts.min())}; leave the class out or choose "
                "another method."
            )
        if self.hp.batch_statistics and self.seen < 2:
            raise UserError(
                "CGIL's batch_statistics need at least two classes in the first task; write "
                "batch_statistics: false, as released, or enlarge the first task."
            )

    def end_task(self, task: Task) -> None:
        features = task.train.features("clip")
        labels = task.train.labels.to(features.device)
        for done, label in enumerate(task.current):
            self.report("generator", done, len(task.current))
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
                self.losses.append(self._align_step(optimiser, features, labels))
        if not bool(torch.stack(self.losses).isfinite().all()):
            raise DivergedError(
                "CGIL's loss on generated features became infinite; lower its align_lr."
            )

    def _align_step(
        self, optimiser: torch.optim.Optimizer, features: Tensor, labels: Tensor
    ) -> Tensor:
        """One step on drawn features; the loss before it."""
        loss = F.cross_entropy(self.logits(features, self.class_features()), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    def logits(self, features: Tensor, keys: Tensor) -> Tensor:
        """(B, n) of image features (B, d) and unit text features (n, d)."""
        return self.clip.logit_scale * F.normalize(features, dim=-1) @ keys.T

    def predict(self, batch: Batch) -> Tensor:
        assert batch.clip is not None
        return self.logits(batch.clip, self.keys[: self.seen])

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
