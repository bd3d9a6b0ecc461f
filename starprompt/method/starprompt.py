"""STAR-Prompt: semantic residual prompts for continual learning.

Menabue et al., ECCV 2024 (arXiv 2403.06870), on keys that its first stage has learned. The text
of the algorithm, as the released code runs it (`models/starprompt.py`, `end_to_end_model.py`):

    for each task:
        open the task's keys                                                  begin_task
        take up the head as it was before its last alignment
        for each epoch, batch:                                                train_step
            query  = CLIP(augmented view)
            chosen = argmax_c 5 cos(query * softmax(a_c), w_c)   in each layer
            logits = head(ViT(view; residuals s * r_chosen))
            Adam on cross-entropy(current classes) + lambda_2 * orthogonality
        fit a mixture a class on the ViT's features of the task's images      end_task
        from the second task on: align a copy of the head on features drawn for all classes
"""

import copy
import math
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from starprompt.continual.cost import COUNTED, operations
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection
from starprompt.continual.memory import MemoryNeed
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.errors import UserError
from starprompt.method.diagnosis import kept_features
from starprompt.method.keys import FirstStageKeys, TemplateKeys
from starprompt.method.prompts import InjectionKind, QueryGradient
from starprompt.method.retrieval import Retrieved
from starprompt.method.second_stage import SecondStage
from starprompt.replay.feature_replay import replay_epoch
from starprompt.replay.head_alignment import align_head
from starprompt.replay.mixture import Mixtures, fit_mixtures
from starprompt.replay.statistics import by_class


def cosine_factor(epoch: int, epochs: int) -> float:
    """The learning rate's factor in ``epoch``: cos(99 pi e / (200 (K - 1))), 1 where K is 1.

    CODA-Prompt's schedule, which the released code uses (`utils/schedulers.py`).
    """
    return math.cos(99 * math.pi * epoch / (200 * (epochs - 1))) if epochs > 1 else 1.0


class StarPrompt(Learner):
    """The second stage as a learner; its ablations differ by hyperparameters alone."""

    class Hyperparameters(BaseHyperparameters):
        """Defaults are the released ones."""

        epochs: int = Field(default=20, ge=1)
        batch_size: int = Field(default=128, ge=1)
        lr: float = Field(default=0.001, gt=0)
        injection: InjectionKind = "value"
        prefix_length: int = Field(default=5, ge=1, description="of keys, and of values")
        confidence: bool = Field(default=True, description="weigh prompts by their similarity")
        query_gradient: QueryGradient = Field(
            default="released", description="which query weights learn from an image"
        )
        query: Literal["augmented", "clean"] = Field(
            default="augmented", description="which view CLIP sees in training"
        )
        key_source: Literal["first_stage", "template", "ensemble", "learned"] = "first_stage"
        pull: float = Field(default=1.0, ge=0, description="weight of 1 - cos(query, own key)")
        orthogonality: float = Field(default=10.0, ge=0, description="lambda_2")
        replay: bool = True
        components: int = Field(default=5, ge=1, description="M, Gaussians a class")
        em_iterations: int = Field(default=500, ge=1)
        feature_passes: int = Field(default=1, ge=1, description="augmented passes for features")
        replay_epochs: int = Field(default=10, ge=0)
        replay_epochs_per_task: int = Field(default=5, ge=0, description="more with each task")
        replay_lr: float = Field(default=0.001, gt=0)
        replay_samples: int = Field(default=256, ge=1)
        replay_batch_size: int = Field(default=128, ge=1)

    test_inputs: ClassVar[tuple[str, ...]] = ("images", "features")
    splits_batches: ClassVar[bool] = True
    hp: Any

    @property
    def train_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("images",) if self.hp.query == "augmented" else ("images", "features")

    def setup(self) -> None:
        setting = self.setting
        self.clip = setting.clip()
        self.net = SecondStage(
            setting.vit(),
            setting.stream.n_classes,
            self.clip.dim,
            self.hp.injection,
            self.hp.prefix_length,
            self.hp.confidence,
            # Keys that learn need the plain gradient, which reaches those of past classes too.
            "chosen" if self.hp.key_source == "learned" else self.hp.query_gradient,
        ).to(setting.device)
        self.head_for_prediction = self.net.head
        self.keys = self._key_source()
        self.mixtures: list[Mixtures] = []
        self.remembered: dict[str, Tensor] = {}
        #: (features, labels) of what was tested since the task began, for who looks at it then
        self.tested: list[tuple[Tensor, Tensor]] | None = None
        self.seen = 0

    def _key_source(self) -> FirstStageKeys | None:
        """Keys of seen classes; None where free vectors are learned along with the prompts."""
        setting = self.setting
        if self.hp.key_source == "learned":
            start = torch.randn(setting.stream.n_classes, self.clip.dim, device=setting.device)
            # Of unit length: Adam's steps don't grow with a key, and would hardly turn a long one.
            self.free_keys = nn.Parameter(F.normalize(start, dim=-1))
            return None
        if self.hp.key_source == "first_stage":
            if setting.keys is None:
                raise UserError(
                    "STAR-Prompt needs the keys of a first stage: name the method that makes "
                    "them under `keys` in its YAML, or choose another `key_source`."
                )
            return FirstStageKeys(setting.keys, setting.device)
        templates = list(setting.stream.templates)
        if self.hp.key_source == "template":
            templates = templates[:1]
        return TemplateKeys(self.clip, setting.stream.class_names, templates)

    def seen_keys(self) -> Tensor:
        """(seen, d) unit keys."""
        if self.keys is None:
            return F.normalize(self.free_keys[: self.seen], dim=-1)
        return self.keys.upto(self.seen)

    # --- learning a task

    def begin_task(self, task: Task) -> None:
        self.tested = []
        self.seen = task.seen_classes
        if self.keys is not None:
            self.keys.reveal(self.seen)
        # The optimiser goes on from the head before its alignment (released `recall_classifier`).
        self.head_for_prediction = self.net.head
        self.net.pool.begin_task(task.past_classes, task.seen_classes)
        trained = self.net.parameters_of_task()
        if self.keys is None:
            trained.append(self.free_keys)
        # One kernel for all parameters; on the CPU its digits differ from the plain one's.
        fused = True if self.setting.device.type == "cuda" else None
        self.optimiser = torch.optim.Adam(trained, lr=self.hp.lr, fused=fused)

    def begin_epoch(self, epoch: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.hp.lr * cosine_factor(epoch, self.epochs)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.optimiser.zero_grad()
        losses = self.gradients(batch)
        self.optimiser.step()
        return losses

    def gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Add the loss's gradients for ``batch``, micro-batch by micro-batch; the losses.

        Each micro-batch weighs by its size in what is a mean over images; the orthogonality term,
        which is not, enters once.
        """
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(batch.split(self.micro_batch or len(batch))):
            share = len(part) / len(batch)
            query = self._training_query(part)
            features, _ = self._features(part, query)
            labels = part.labels - self.net.pool.past
            logits = self.net.masked_logits(features)
            cross_entropy = share * F.cross_entropy(logits, labels)
            loss = cross_entropy
            terms = {"cross_entropy": cross_entropy}
            if number == 0:
                terms["orthogonality"] = self.net.pool.orthogonality()
                loss = loss + self.hp.orthogonality * terms["orthogonality"]
            if self.keys is None:
                own_key = self.seen_keys()[part.labels]
                pull = (1 - F.cosine_similarity(query, own_key)).mean()
                loss = loss + share * self.hp.pull * pull
            loss.backward()
            terms |= {
                "loss": loss,
                "accuracy": share * (logits.argmax(dim=1) == labels).float().mean(),
            }
            for name, value in terms.items():
                value = value.detach()
                sums[name] = sums[name] + value if name in sums else value
        return {name: sums[name] for name in ("loss", "cross_entropy", "orthogonality", "accuracy")}

    def _training_query(self, batch: Batch) -> Tensor:
        """(B, d): CLIP sees the same augmented view as the ViT, with its own normalisation."""
        if self.hp.query == "augmented":
            return self.clip.encode_images(batch.images)
        assert batch.query is not None
        return batch.query

    def _features(self, batch: Batch, query: Tensor) -> tuple[Tensor, Retrieved]:
        assert batch.images is not None
        return self.net.features(
            self.setting.vit_normalisation(batch.images), query, self.seen_keys()
        )

    # --- remembering it

    def end_task(self, task: Task) -> None:
        self.net.pool.end_task()
        if not self.hp.replay:
            return
        self._remember(task)
        if task.index > 0:
            self._align(task)

    @torch.no_grad()
    def _remember(self, task: Task) -> None:
        """A mixture a class of the [CLS] features of the task's augmented images."""
        features, labels = [], []
        for extra in range(self.hp.feature_passes):
            for batch in task.train.batches(
                self.batch_size,
                epoch=self.epochs + extra,
                inputs=self.train_inputs,
                augment=True,
            ):
                features.append(self._features(batch, self._training_query(batch))[0])
                labels.append(batch.labels)
        every, label = torch.cat(features), torch.cat(labels)
        one_pass = len(task.train)
        self.remembered = kept_features("train", every[:one_pass], label[:one_pass])
        of_class = by_class(every, label, task.current)
        fit = fit_mixtures(of_class, self.hp.components, self.hp.em_iterations)
        self.mixtures.append(fit.mixtures)

    def _align(self, task: Task) -> None:
        """Align a copy of the head with features drawn for all seen classes."""
        self.head_for_prediction = copy.deepcopy(self.net.head)
        mixtures = Mixtures.concatenate(self.mixtures)
        for _ in range(self.hp.replay_epochs + self.hp.replay_epochs_per_task * task.index):
            batches = replay_epoch(mixtures, self.hp.replay_samples, self.hp.replay_batch_size)
            align_head(self.head_for_prediction, batches, self.hp.replay_lr, self.seen)

    # --- predicting

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        query = self.clip.encode_images(batch.images) if batch.query is None else batch.query
        features, retrieved = self._features(batch, query)
        self.last_selection = Selection(retrieved.chosen, retrieved.similarity)
        if self.tested is not None:
            self.tested.append((features, batch.labels))
        return self.net.logits(features, self.head_for_prediction, self.seen)

    # --- being looked at

    @torch.no_grad()
    def diagnostics(self, task: Task) -> dict[str, Tensor]:
        """Keys as they are now, features that were and would be remembered, norms, operations."""
        if not self.tested:  # nobody has tested it; else no image goes through twice
            self.tested = []
            for batch in task.test.batches(self.batch_size, inputs=self.test_inputs):
                self.predict(batch)
        features, labels = (torch.cat(parts) for parts in zip(*self.tested, strict=True))
        self.tested = None
        own = labels >= task.past_classes
        found = {"keys": self.seen_keys().detach()} | self.remembered
        found |= kept_features("test", features[own], labels[own])
        found |= self._norms(task)
        if self.seen == self.setting.stream.n_classes:
            found |= self._operations(task)
        return found

    def _norms(self, task: Task) -> dict[str, Tensor]:
        """Of one batch of the task's test images, in each layer."""
        batch = next(iter(task.test.batches(self.batch_size, inputs=self.test_inputs)))
        assert batch.images is not None and batch.query is not None
        retrieved = self.net.pool.retrieve(batch.query, self.seen_keys())
        images = self.setting.vit_normalisation(batch.images)
        changed, attended = self.net.vit.injected_norms(images, self.net.pool.injections(retrieved))
        return {"injected_norm": changed, "attention_norm": attended}

    def _operations(self, task: Task) -> dict[str, Tensor]:
        """Floating-point operations of a step of the last task, an image."""
        batch = next(iter(task.test.batches(COUNTED, inputs=self.test_inputs)))
        pool = self.net.pool

        def step() -> None:
            features, _ = self._features(batch, self._training_query(batch))
            self.net.masked_logits(features).sum().backward()

        pool.begin_task(task.past_classes, task.seen_classes)
        with torch.enable_grad():
            count = operations(step)
        pool.begin_task(task.seen_classes, task.seen_classes)
        self.net.head.zero_grad()
        return {"train_operations": torch.tensor(count / len(batch))}

    # --- checkpoints

    def state_dict(self) -> dict[str, Tensor]:
        pool, aligned = self.net.pool, self.head_for_prediction
        state = {
            "prompts": pool.prompts,
            "query_weights": pool.query_weights,
            "head.weight": self.net.head.weight.detach(),
            "head.bias": self.net.head.bias.detach(),
            "seen": torch.tensor(self.seen),
        }
        if aligned is not self.net.head:
            state["aligned.weight"] = aligned.weight.detach()
            state["aligned.bias"] = aligned.bias.detach()
        if self.mixtures:
            state |= Mixtures.concatenate(self.mixtures).state("mixtures.")
        if self.keys is None:
            state["free_keys"] = self.free_keys.detach()
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        state = {name: tensor.to(self.setting.device) for name, tensor in state.items()}
        self.seen = int(state["seen"])
        self.net.pool.prompts.copy_(state["prompts"])
        self.net.pool.query_weights.copy_(state["query_weights"])
        self.net.pool.begin_task(self.seen, self.seen)
        self.net.head.load_state_dict({k: state[f"head.{k}"] for k in ("weight", "bias")})
        self.head_for_prediction = self.net.head
        if "aligned.weight" in state:
            self.head_for_prediction = copy.deepcopy(self.net.head)
            aligned = {k: state[f"aligned.{k}"] for k in ("weight", "bias")}
            self.head_for_prediction.load_state_dict(aligned)
        if "mixtures.weights" in state:
            self.mixtures = [Mixtures.from_state(state, "mixtures.")]
        if self.keys is None:
            self.free_keys.data.copy_(state["free_keys"])
        else:
            self.keys.reveal(self.seen)

    def memory_need(self) -> MemoryNeed:
        """Beside the towers: prompts, query weights and their retrieval, and the mixtures."""
        stream, pool = self.setting.stream, self.net.pool
        classes, dim, query_dim = stream.n_classes, self.net.vit.dim, self.clip.dim
        current = max(b - a for a, b in pairwise((0, *stream.task_ends)))
        layers, prompt = len(pool.prompts), pool.prompts[0, 0].numel()
        view = 3 * stream.image_size**2 * 4
        prefix = pool.prefix_length if pool.injection == "prefix" else 0
        vit = self.net.vit.activations(residual=not prefix, prefix_length=prefix)
        clip = self.clip.activations()
        frozen = [self.clip, self.net.vit]
        learned = 4 * (layers * current * (prompt + query_dim) + classes * (dim + 1))
        return MemoryNeed(
            parameters=sum(t.nbytes for m in frozen for t in (*m.parameters(), *m.buffers()))
            + pool.prompts.nbytes
            + pool.query_weights.nbytes
            + 4 * classes * (query_dim + self.hp.components * (2 * dim + 1)),
            # as parameters, their gradients and Adam's two moments
            learning=4 * learned,
            step=3 * self.batch_size * view
            + vit.constant
            + clip.constant
            + 4 * layers * query_dim * (2 * classes + 4 * current),
            # two normalised views; similarities; what is gathered, weighed and injected
            image=2 * view
            + vit.kept
            + max(vit.passing, clip.passing)
            + 4 * layers * (6 * classes + 6 * prompt),
        )

    def parameter_counts(self) -> dict[str, int]:
        pool, head = self.net.pool, self.net.head
        trained = pool.prompts.numel() + pool.query_weights.numel()
        trained += sum(p.numel() for p in head.parameters())
        if self.keys is None:
            trained += self.free_keys.numel()
        stored = sum(
            m.weights.numel() + m.means.numel() + m.variances.numel() for m in self.mixtures
        )
        return {"trained": trained, "stored": stored}
