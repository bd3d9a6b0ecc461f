"""STAR-Prompt's first stage: one learned text prompt a class makes that class's key.

Menabue et al., "Semantic Residual Prompts for Continual Learning", ECCV 2024, Sec. 3.2; released
`first_stage_model.py` and `train_first_stage_on_task`. No image is read: CLIP is frozen and the
images are not augmented, so its features are computed once (`starprompt embed`).
"""

from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.method.diagnostics import first_stage_diagnostics
from starprompt.method.memory import first_stage_parameters
from starprompt.replay.feature_replay import ReplayOrder, replay_epoch
from starprompt.replay.mixture import Mixtures, fit_mixtures
from starprompt.replay.statistics import by_class

#: standard deviation of a context vector at its start
CONTEXT_STD = 0.02


def context_orthogonality(past: Tensor, current: Tensor) -> Tensor:
    """Mean of (p_i . p_j)^2 over current i and past j; zero without past classes.

    past (P, width), current (N, width). Released `compute_ortho_loss`.
    """
    if len(past) == 0:
        return current.new_zeros(())
    return (current @ past.detach().T).square().mean()


class FirstStage(Learner):
    """Contexts p_c in the text `X <class name>.`; keys w_c; logits tau cos(E_vis(x), w_c)."""

    class Hyperparameters(BaseHyperparameters):
        """Defaults are the released ones."""

        neutral_defaults: ClassVar[frozenset[str]] = frozenset({"replay_order"})

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.002, gt=0)
        orthogonality: float = Field(default=30.0, ge=0, description="lambda_1")
        replay: bool = True
        components: int = Field(default=5, ge=1, description="M, Gaussians a class")
        em_iterations: int = Field(default=200, ge=1)
        replay_epochs: int = Field(default=10, ge=0)
        replay_lr: float = Field(default=0.05, gt=0)
        replay_samples: int = Field(default=256, ge=1)
        replay_batch_size: int = Field(default=128, ge=1)
        replay_order: ReplayOrder = Field(
            default="new",
            description="of the features drawn, in each replay epoch or the same in all",
        )

    train_inputs: ClassVar[tuple[str, ...]] = ("features",)
    test_inputs: ClassVar[tuple[str, ...]] = ("features",)
    augment: ClassVar[bool] = False

    hp: Any
    diagnostics = first_stage_diagnostics
    parameter_counts = first_stage_parameters

    def setup(self) -> None:
        stream, device = self.setting.stream, self.setting.device
        self.clip = self.setting.clip()
        self.tokens = self.clip.prompt_tokens(list(stream.class_names))
        self.contexts = CONTEXT_STD * torch.randn(
            stream.n_classes, self.clip.text_width, device=device
        )
        self.keys = torch.zeros(stream.n_classes, self.clip.dim, device=device)
        self.mixtures: list[Mixtures] = []
        self.past = self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.text = self.tokens.select(slice(self.past, self.seen))
        self.context = nn.Parameter(self.contexts[self.past : self.seen].clone())
        self.optimiser = torch.optim.SGD([self.context], lr=self.hp.lr)

    def current_keys(self) -> Tensor:
        """(N_t, d) unit keys of the task's own classes, from one pass of the text encoder."""
        embeddings = self.text.with_context(self.context)
        return F.normalize(self.clip.encode_prompts(embeddings, self.text.eot), dim=-1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over the current classes (past logits would be -inf) + lambda_1 times the
        orthogonality of contexts (Sec. 3.2)."""
        logits = self.logits(batch.clip, self.current_keys())
        cross_entropy = F.cross_entropy(logits, batch.labels - self.past)
        orthogonality = context_orthogonality(self.contexts[: self.past], self.context)
        loss = cross_entropy + self.hp.orthogonality * orthogonality
        return {"loss": loss, "cross_entropy": cross_entropy, "orthogonality": orthogonality}

    def logits(self, features: Tensor | None, keys: Tensor) -> Tensor:
        """(B, C) tau cos(E_vis(x), w_c) of CLIP's features (B, d) and unit keys (C, d)."""
        assert features is not None
        return self.clip.logit_scale * F.normalize(features, dim=-1) @ keys.T

    def end_task(self, task: Task) -> None:
        if self.hp.replay:
            self.fit(task)
            self.replay()
        with torch.no_grad():
            self.contexts[self.past : self.seen] = self.context
            self.keys[self.past : self.seen] = self.current_keys()

    def fit(self, task: Task) -> None:
        """A mixture per class on CLIP's features, not normalised (Sec. 3.4). The released code
        passes over the images several times, but un-augmented features repeat exactly."""
        features = task.train.features("clip")
        labels = task.train.labels.to(features.device)
        of_class = by_class(features, labels, task.current)
        report = partial(self.report, "EM iteration")
        fit = fit_mixtures(of_class, self.hp.components, self.hp.em_iterations, report=report)
        self.mixtures.append(fit.mixtures)

    def replay(self) -> None:
        """Cross-entropy over all seen classes on drawn features; only current contexts learn."""
        mixtures = Mixtures.concatenate(self.mixtures)
        optimiser = torch.optim.SGD([self.context], lr=self.hp.replay_lr)
        order = self.setting.seed if self.hp.replay_order == "same" else None
        drawn = partial(replay_epoch, order_seed=order)
        for _ in range(self.hp.replay_epochs):
            for features, labels in drawn(
                mixtures, self.hp.replay_samples, self.hp.replay_batch_size
            ):
                keys = torch.cat([self.keys[: self.past], self.current_keys()])
                loss = F.cross_entropy(self.logits(features, keys), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def predict(self, batch: Batch) -> Tensor:
        self.last_features = batch.clip
        return self.logits(batch.clip, self.keys[: self.seen])

    def settled(self) -> dict[str, Tensor]:
        """Contexts and keys of a class are final once its task has ended."""
        return {"contexts": self.contexts[: self.seen], "keys": self.keys[: self.seen]}

    def state_dict(self) -> dict[str, Tensor]:
        state = {
            "contexts": self.contexts,
            "keys": self.keys,
            "seen": torch.tensor(self.seen),
        }
        if self.mixtures:
            state |= Mixtures.concatenate(self.mixtures).state("mixtures.")
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        device = self.setting.device
        self.contexts, self.keys = state["contexts"].to(device), state["keys"].to(device)
        self.past = self.seen = int(state["seen"])
        if "mixtures.weights" in state:
            state = {name: tensor.to(device) for name, tensor in state.items()}
            self.mixtures = [Mixtures.from_state(state, "mixtures.")]
