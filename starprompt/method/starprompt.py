"""STAR-Prompt: semantic residual prompts for continual learning, second stage.

Menabue et al., ECCV 2024 (arXiv 2403.06870), Sec. 3.3 and 3.4, on the keys w_c of its first stage.
The algorithm as the released code runs it (`second_stage_model.py`, `end_to_end_model.py`):

    for each task:
        open the task's keys                                                  begin_task
        go on from the head before its last alignment
        for each epoch, batch:                                                loss
            query  = CLIP(augmented view)
            chosen = argmax_c 5 cos(query * softmax(a_c), w_c)  in each layer     (Eq. 4)
            R      = s_chosen * r_chosen                        in each layer     (Eq. 5)
            logits = head(ViT(view; R added in every layer))                      (Eq. 6)
            Adam on cross-entropy(current classes) + lambda_2 * orthogonality
        fit a mixture per class on the ViT's features of the task's images    end_task
        from the second task on: align a copy of the head on features drawn for all classes

Eqs. 4 and 5 are in retrieval.py and prompts.py, Eq. 6 is in backbones/prompted_vit.py. What
analyses and forecasts ask is in diagnostics.py and memory.py.
"""

import copy
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from starprompt.backbones.classifier import fresh_head, load_module_state, module_state
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.continual.learner import Learner, Selection
from starprompt.continual.schedules import cosine_factor
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.method.diagnostics import second_stage_diagnostics
from starprompt.method.hyperparameters import SecondStageHyperparameters
from starprompt.method.keys import open_keys
from starprompt.method.memory import second_stage_memory, second_stage_parameters
from starprompt.method.prompts import PromptPool
from starprompt.method.retrieval import Retrieved
from starprompt.replay.feature_replay import replay_epoch
from starprompt.replay.head_alignment import align_head
from starprompt.replay.mixture import Mixtures, fit_mixtures
from starprompt.replay.statistics import by_class


class StarPrompt(Learner):
    """Class residuals, chosen by the keys, in a frozen ViT; ablations are hyperparameters."""

    Hyperparameters = SecondStageHyperparameters
    test_inputs: ClassVar[tuple[str, ...]] = ("images", "features")
    splits_batches: ClassVar[bool] = True
    hp: Any
    diagnostics = second_stage_diagnostics
    memory_need = second_stage_memory
    parameter_counts = second_stage_parameters

    @property
    def train_inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("images",) if self.hp.query == "augmented" else ("images", "features")

    def setup(self) -> None:
        hp, device, n_classes = self.hp, self.setting.device, self.setting.stream.n_classes
        self.clip = self.setting.clip()
        self.vit = PromptedViT(self.setting.vit()).eval().to(device)
        self.pool = PromptPool(
            self.vit.depth,
            n_classes,
            self.clip.dim,
            self.vit.dim,
            injection=hp.injection,
            prefix_length=hp.prefix_length,
            confidence=hp.confidence,
            # Keys that learn need the plain gradient, which reaches those of past classes too.
            query_gradient="chosen" if hp.key_source == "learned" else hp.query_gradient,
        ).to(device)
        self.head = fresh_head(self.vit.dim, n_classes, hp.head_start).to(device)
        self.aligned_head = self.head
        self.keys = open_keys(hp.key_source, self.setting, self.clip, hp.pull)
        self.mixtures: list[Mixtures] = []
        #: [CLS] features (N, D) and labels (N,) that the last task's mixtures were fitted on
        self.task_features: tuple[Tensor, Tensor] | None = None
        self.past = self.seen = 0

    # --- learning a task

    def begin_task(self, task: Task) -> None:
        self.past, self.seen = task.past_classes, task.seen_classes
        self.keys.reveal(self.seen)
        self.pool.begin_task(self.past, self.seen)
        # The optimiser goes on from the head before its alignment (released `recall_classifier`).
        self.aligned_head, self.task_features = self.head, None
        trained = [self.pool.prompt, self.pool.query_weight, *self.head.parameters()]
        # One kernel for all parameters; on the CPU its digits differ from the plain one's.
        fused = True if self.setting.device.type == "cuda" else None
        self.optimiser = torch.optim.Adam(
            [*trained, *self.keys.parameters()], lr=self.hp.lr, fused=fused
        )

    def begin_epoch(self, epoch: int) -> None:
        cosine = self.hp.schedule == "cosine"
        for group in self.optimiser.param_groups:
            group["lr"] = self.hp.lr * (cosine_factor(epoch, self.epochs) if cosine else 1.0)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over the current classes (past logits would be -inf) + lambda_2 times the
        orthogonality term (Sec. 3.3) + the keys' own term, zero for frozen keys."""
        query = self.training_query(batch)
        features, _ = self.features(batch, query)
        logits = self.head(features)[:, self.past : self.seen]
        labels = batch.labels - self.past
        cross_entropy = F.cross_entropy(logits, labels)
        orthogonality = self.pool.orthogonality()
        loss = cross_entropy + self.hp.orthogonality * orthogonality
        loss = loss + self.keys.loss(query, batch.labels)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        losses = {"loss": loss, "cross_entropy": cross_entropy, "orthogonality": orthogonality}
        return losses | {"accuracy": accuracy}

    def training_query(self, batch: Batch) -> Tensor:
        """(B, d): CLIP sees the same augmented view as the ViT, with its own normalisation."""
        if self.hp.query == "augmented":
            return self.clip.encode_images(batch.images)
        assert batch.query is not None
        return batch.query

    def features(self, batch: Batch, query: Tensor) -> tuple[Tensor, Retrieved]:
        """[CLS] features (B, D) of the views under their own prompts, and what was retrieved.

        query (B, d): CLIP's features of the views, or of the clean images.
        """
        assert batch.images is not None
        retrieved = self.pool.retrieve(query, self.keys.upto(self.seen))
        images = self.setting.vit_normalisation(batch.images)
        return self.vit(images, self.pool.injections(retrieved)), retrieved

    # --- generative replay (Sec. 3.4)

    def end_task(self, task: Task) -> None:
        self.pool.end_task()
        if not self.hp.replay:
            return
        self.task_features = self.augmented_features(task)
        of_class = by_class(*self.task_features, task.current)
        report = partial(self.report, "EM iteration")
        fit = fit_mixtures(of_class, self.hp.components, self.hp.em_iterations, report=report)
        self.mixtures.append(fit.mixtures)
        if task.index > 0:
            self.align(task)

    @torch.no_grad()
    def augmented_features(self, task: Task) -> tuple[Tensor, Tensor]:
        """[CLS] features (N, D) of ``feature_passes`` augmented passes, and their labels (N,)."""
        features, labels = [], []
        for epoch in range(self.epochs, self.epochs + self.hp.feature_passes):
            for batch in task.train.batches(
                self.batch_size, epoch=epoch, inputs=self.train_inputs, augment=True
            ):
                features.append(self.features(batch, self.training_query(batch))[0])
                labels.append(batch.labels)
        return torch.cat(features), torch.cat(labels)

    def align(self, task: Task) -> None:
        """Align a copy of the head on features drawn from the mixtures of all classes seen."""
        self.aligned_head = copy.deepcopy(self.head)
        mixtures = Mixtures.concatenate(self.mixtures)
        order = self.setting.seed if self.hp.replay_order == "same" else None
        drawn = partial(replay_epoch, order_seed=order)
        for _ in range(self.hp.replay_epochs + self.hp.replay_epochs_per_task * task.index):
            batches = drawn(mixtures, self.hp.replay_samples, self.hp.replay_batch_size)
            align_head(self.aligned_head, batches, self.hp.replay_lr, self.seen)

    # --- predicting: the query is CLIP's feature of the clean image

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        query = self.clip.encode_images(batch.images) if batch.query is None else batch.query
        self.last_features, retrieved = self.features(batch, query)
        self.last_selection = Selection(retrieved.chosen, retrieved.similarity)
        return self.aligned_head(self.last_features)[:, : self.seen]

    # --- checkpoints

    def settled(self) -> dict[str, Tensor]:
        """Prompts and query weights (layers, C, ...) of the classes seen: later tasks have none of
        their gradient."""
        seen = self.seen
        return {
            "prompts": self.pool.prompts[:, :seen],
            "query_weights": self.pool.query_weights[:, :seen],
        }

    def state_dict(self) -> dict[str, Tensor]:
        state = {"prompts": self.pool.prompts, "query_weights": self.pool.query_weights}
        state |= module_state(self.head, "head.")
        if self.aligned_head is not self.head:
            state |= module_state(self.aligned_head, "aligned.")
        if self.mixtures:
            state |= Mixtures.concatenate(self.mixtures).state("mixtures.")
        return state | self.keys.state_dict() | {"seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        state = {name: tensor.to(self.setting.device) for name, tensor in state.items()}
        self.past = self.seen = int(state["seen"])
        self.pool.load(state["prompts"], state["query_weights"], self.seen)
        load_module_state(self.head, state, "head.")
        self.aligned_head = copy.deepcopy(self.head) if "aligned.weight" in state else self.head
        if self.aligned_head is not self.head:
            load_module_state(self.aligned_head, state, "aligned.")
        if "mixtures.weights" in state:
            self.mixtures = [Mixtures.from_state(state, "mixtures.")]
        self.keys.load_state_dict(state)
        self.keys.reveal(self.seen)
