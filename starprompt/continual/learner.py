"""The one protocol that STAR-Prompt, its ablations and every competitor share.

The runner owns the loop over tasks, epochs and batches, evaluation, checkpoints, seeds and clocks.
A learner holds its method and nothing else, and is found by its name in
``config/methods/NAME.yaml``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from starprompt.continual.micro_batches import backward
from starprompt.continual.progress import Report, silent
from starprompt.continual.task_checkpoint import (
    load_optimiser_state,
    load_schedule_state,
    optimiser_state,
    schedule_state,
)
from starprompt.data.batch import Batch, StreamInfo
from starprompt.data.stream import Task
from starprompt.machine.memory import MemoryNeed, MicroBatch, need_of_modules

#: what ``parameter_counts`` may name
COUNTS = ("trained", "stored", "samples")


class BaseHyperparameters(BaseModel):
    """Base of every method's hyperparameters: typed, immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    #: names added after runs were made whose default computes what those runs computed; at its
    #: default such a one is left out of a run's fingerprint
    neutral_defaults: ClassVar[frozenset[str]] = frozenset()

    def neutral(self) -> frozenset[str]:
        """Names among ``neutral_defaults`` that are at their defaults."""
        fields = type(self).model_fields
        return frozenset(
            name for name in self.neutral_defaults if getattr(self, name) == fields[name].default
        )


@dataclass(frozen=True)
class Setting:
    """What a learner is built from: the stream's names and sizes and the frozen parts.

    vit()   a fresh timm ViT with pretrained weights and no head (num_classes=0), float32, whose
            normalisation is ``vit_normalisation``
    clip()  the frozen CLIP (``starprompt.backbones.clip.FrozenClip``), shared, never trained
    keys    folder of the run whose first stage made the keys; None for methods that need none
    """

    stream: StreamInfo
    device: torch.device
    seed: int
    vit: Callable[[], Any]
    clip: Callable[[], Any]
    vit_normalisation: Callable[[Tensor], Tensor]
    keys: Path | None = None
    precision: str = "float32"
    micro_batch: MicroBatch = "auto"


@dataclass(frozen=True)
class Selection:
    """Which prompts each image chose, K of them in all layers together: the runner records it.

    chosen      (B, K) int64    index of the chosen prompt
    similarity  (B, K) float32  the similarity it was chosen by
    of          what the index says of the prompt: "class", a stream label, where each class has
                its own; "task", the task's index, where each task has its own; "pool", where no
                prompt belongs to anything
    layer       (K,) int64      layer of each choice; None: choice k is made in layer k
    weight      (B, K) float32  share of the layer's prompting that the choice makes up; None: the
                                choices of a layer share it equally
    """

    chosen: Tensor
    similarity: Tensor
    of: Literal["class", "task", "pool"] = "class"
    layer: Tensor | None = None
    weight: Tensor | None = None


@dataclass
class Learner(ABC):
    """One method. Subclasses set ``Hyperparameters`` and ``epochs``/``batch_size`` come from it.

    A subclass is constructed as ``cls(hp, setting)``; its ``setup`` builds modules. Everything that
    training changes must be in ``state_dict``: a run killed after a task goes on from there, with
    a fresh object whose ``load_state_dict`` was called, and must end as if undisturbed.
    """

    hp: Any
    setting: Setting
    last_selection: Selection | None = field(default=None, init=False)
    #: features (B, D) that the last ``predict`` classified; None: the method has none to analyse
    last_features: Tensor | None = field(default=None, init=False)
    #: images of a batch at a time, where memory is short; None: the whole batch
    micro_batch: int | None = field(default=None, init=False)
    #: called by a long ``end_task`` with a phase's name, the parts done and the parts in all
    report: Report = field(default_factory=lambda: silent, init=False)

    Hyperparameters: ClassVar[type[BaseHyperparameters]] = BaseHyperparameters
    #: what the runner puts into training and test batches: "images", "features"
    train_inputs: ClassVar[tuple[str, ...]] = ("images",)
    test_inputs: ClassVar[tuple[str, ...]] = ("images",)
    #: whether training images are augmented
    augment: ClassVar[bool] = True
    #: whether ``loss`` is a mean over images plus terms without images, and ``train_step`` takes
    #: its gradient ``micro_batch`` images at a time
    splits_batches: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.setup()

    @property
    def epochs(self) -> int:
        """Passes over a task's training images; 0 for methods that learn nothing by steps."""
        return getattr(self.hp, "epochs", 0)

    @property
    def batch_size(self) -> int:
        """Images of one training step; a hyperparameter of that name, else 128."""
        return getattr(self.hp, "batch_size", 128)

    @property
    def tests_tasks_apart(self) -> bool:
        """Whether evaluation hands over the test images of one task at a time.

        For a method whose answer to an image depends on the images that it is tested with, as its
        authors had it; such a row is marked.
        """
        return False

    @abstractmethod
    def setup(self) -> None:
        """Build modules and parameters (torch's seed is set by the runner just before)."""

    def begin_task(self, task: Task) -> None:  # noqa: B027 - an empty hook, on purpose
        """Before a task's first step: extend to its classes, make the optimiser."""

    def begin_epoch(self, epoch: int) -> None:  # noqa: B027 - an empty hook, on purpose
        """Before each epoch of the current task: set the learning rate."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name, on the device; "loss" is the one that ``train_step`` minimises."""
        raise NotImplementedError(f"{type(self).__name__} has epochs but no train_step")

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One update: by default ``self.optimiser`` minimises ``loss``.

        Returns scalar tensors still on the device; "loss" is among them.
        """
        optimiser: torch.optim.Optimizer = self.optimiser  # type: ignore[attr-defined]
        optimiser.zero_grad()
        losses = backward(self.loss, batch, self.micro_batch)
        optimiser.step()
        return losses

    def end_task(self, task: Task) -> None:  # noqa: B027 - an empty hook, on purpose
        """After a task's last step: fit statistics, replay, align."""

    @abstractmethod
    def predict(self, batch: Batch) -> Tensor:
        """(B, classes seen so far) logits, float32; no task identity is given.

        A method that selects prompts leaves what it chose in ``last_selection``; one that
        classifies features leaves them in ``last_features``, of which the evaluation keeps some.
        """

    def task_state(self) -> dict[str, Tensor] | None:
        """What the steps since ``begin_task`` have changed, so that a task can stop within.

        By default the parameters of ``self.optimiser`` with its moments and rates, and how far
        ``self.schedule`` has come, where there is one; a method whose steps change more (a buffer
        that fills) adds that here and in ``load_task_state``. Return None if the state within a
        task cannot be saved: a stopped run then begins the task anew.
        """
        optimiser, schedule = getattr(self, "optimiser", None), getattr(self, "schedule", None)
        if optimiser is None:
            return None
        return optimiser_state(optimiser) | ({} if schedule is None else schedule_state(schedule))

    def load_task_state(self, state: dict[str, Tensor]) -> None:
        """Take up what ``task_state`` gave, right after the same task's ``begin_task``."""
        load_optimiser_state(self.optimiser, state)  # type: ignore[attr-defined]
        if (schedule := getattr(self, "schedule", None)) is not None:
            load_schedule_state(schedule, state)

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Everything that training has changed so far, as tensors by name."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a state that ``state_dict`` gave at the end of a task."""

    def settled(self) -> dict[str, Tensor]:
        """By name, what later tasks leave as it is, where the method promises that.

        A tensor that is given after one task is given after the next one too and may have grown
        by then; its earlier part must be the same. ``starprompt check --method`` holds it.
        """
        return {}

    def diagnostics(self, task: Task) -> dict[str, Tensor]:
        """What analyses ask of the method as it is after ``task``, beyond its predictions.

        Called once a task, after its evaluation, outside every clock; must change nothing that
        learning depends on. The runner keeps it in ``diagnostics.safetensors``; the names that
        analyses know are in docs/analysis.md.
        """
        return {}

    def memory_need(self) -> MemoryNeed:
        """Bytes that learning needs at most, asked for once, before the first task.

        By default those of the modules among the learner's attributes, the trained ones by Adam.
        """
        view = 3 * self.setting.stream.image_size**2 * 4 if "images" in self.train_inputs else 0
        modules = [value for value in vars(self).values() if isinstance(value, nn.Module)]
        return need_of_modules(modules, view, self.batch_size)

    def parameter_counts(self) -> dict[str, int]:
        """Numbers for the record: "trained", parameters that training changes, and where there
        are any "stored", numbers kept beside them for later tasks, and "samples", images kept."""
        return {}
