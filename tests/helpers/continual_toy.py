"""A task stream in memory and a learner of a few lines, for tests of the runner.

The stream has the interface of ``starprompt.data.stream`` and nothing of its machinery; images are
random pixels around a mean of their class. Run as a script it trains the toy in a folder.
"""

import logging
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from starprompt.continual.header import RunHeader, describe_stream
from starprompt.continual.learner import BaseHyperparameters, Learner, Selection, Setting
from starprompt.continual.runner import run
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.record.record import MethodRecord, RunRecord, read_record

SIZE = 4


@dataclass
class ToyData:
    """Stands for TaskData."""

    ids: np.ndarray
    labels: Tensor
    images: Tensor
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def together(cls, parts: "list[ToyData]") -> "ToyData":
        ids = np.concatenate([part.ids for part in parts])
        labels, images = (torch.cat([getattr(p, n) for p in parts]) for n in ("labels", "images"))
        return cls(ids, labels, images, parts[0].seed)

    def batches(
        self,
        batch_size: int,
        *,
        epoch: int = 0,
        inputs: tuple[str, ...] = ("images",),
        augment: bool = False,
        shuffle: bool = False,
        first: int = 0,
    ) -> Iterator[Batch]:
        rng = np.random.default_rng((*self.seed, epoch))
        order = rng.permutation(len(self)) if shuffle else np.arange(len(self))
        for start in range(first * batch_size, len(self), batch_size):
            rows = order[start : start + batch_size]
            yield Batch(
                torch.from_numpy(self.ids[rows]),
                self.labels[rows],
                self.images[rows] if "images" in inputs else None,
                self.images[rows].flatten(1) if "features" in inputs else None,
            )


@dataclass
class ToyTask:
    """Stands for Task."""

    index: int
    past_classes: int
    seen_classes: int
    train: ToyData
    test: ToyData


class ToyStream:
    """Stands for TaskStream: ``n_tasks`` tasks of two classes, easy to tell apart."""

    def __init__(self, n_tasks: int = 3, seed: int = 1993, joint: bool = False, n: int = 12):
        classes = 2 * n_tasks
        ends = tuple(range(2, classes + 1, 2))
        self.order = np.random.RandomState(seed).permutation(classes)
        self.digest = self.data_digest = "toy"
        names = tuple(f"thing {label}" for label in range(classes))
        self.info = StreamInfo("toy", names, ends, SIZE, Normalisation())
        means = torch.rand(classes, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

        def data(first: int, last: int, count: int, split: int) -> ToyData:
            labels = torch.arange(first, last).repeat_interleave(count)
            noise = torch.randn(
                len(labels), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(split)
            )
            images = (means[labels] + 0.1 * noise).clamp(0, 1)
            ids = np.arange(len(labels), dtype=np.int64) + first * count
            return ToyData(ids, labels, images, (seed, first, split))

        pairs = [(0, classes)] if joint else [(end - 2, end) for end in ends]
        self.test_tasks = [data(end - 2, end, 5 + end, 1) for end in ends]
        self.tasks = [
            ToyTask(index, past, seen, data(past, seen, n, 0), self.test_tasks[index])
            for index, (past, seen) in enumerate(pairs)
        ]


class ToyHyperparameters(BaseHyperparameters):
    epochs: int = 2
    batch_size: int = 8
    learning_rate: float = 0.5


@dataclass
class ToyLearner(Learner):
    """A linear head with dropout and random replay: uses each global random generator."""

    Hyperparameters = ToyHyperparameters
    n_layers = 2
    seen: int = field(default=0, init=False)

    def setup(self) -> None:
        width = 3 * self.setting.stream.image_size**2
        self.head = nn.Linear(width, self.setting.stream.n_classes)
        self.memory = torch.zeros(0, width)
        self.memory_labels = torch.zeros(0, dtype=torch.long)

    def begin_task(self, task: Any) -> None:
        self.seen = task.seen_classes
        self.optimiser = torch.optim.SGD(
            self.head.parameters(), lr=self.hp.learning_rate, momentum=0.9
        )

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        x, y = batch.images.flatten(1), batch.labels
        if len(self.memory):
            rows = torch.randint(len(self.memory), (4,))
            rows[0] = random.randrange(len(self.memory))
            rows[1] = np.random.randint(len(self.memory))
            x, y = torch.cat([x, self.memory[rows]]), torch.cat([y, self.memory_labels[rows]])
        logits = self.head(nn.functional.dropout(x, 0.2))[:, : self.seen]
        loss = nn.functional.cross_entropy(logits, y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss, "norm": self.head.weight.norm()}

    def end_task(self, task: Any) -> None:
        for batch in task.train.batches(len(task.train)):
            rows = torch.randperm(len(batch))[:6]
            self.memory = torch.cat([self.memory, batch.images.flatten(1)[rows]])
            self.memory_labels = torch.cat([self.memory_labels, batch.labels[rows]])

    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        logits = self.head(batch.images.flatten(1))[:, : self.seen]
        chosen = logits.argmax(1, keepdim=True).repeat(1, self.n_layers)
        self.last_selection = Selection(chosen, logits.gather(1, chosen))
        return logits

    def state_dict(self) -> dict[str, Tensor]:
        own = {"memory": self.memory, "memory_labels": self.memory_labels}
        return {**self.head.state_dict(prefix="head."), **own, "seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.head.load_state_dict({"weight": state["head.weight"], "bias": state["head.bias"]})
        self.memory, self.memory_labels = state["memory"], state["memory_labels"]
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": sum(p.numel() for p in self.head.parameters())}


def setting_of(stream: Any, seed: int = 1993) -> Setting:
    """A setting without frozen parts."""
    return Setting(stream.info, torch.device("cpu"), seed, nn.Identity, nn.Identity, lambda x: x)


def header_of(stream: Any, learner: type[Learner], hp: BaseHyperparameters, seed: int) -> RunHeader:
    """What a run of ``learner`` says of itself."""
    method = MethodRecord(
        name=learner.__name__.lower(),
        title=learner.__name__,
        learner=f"{learner.__module__}:{learner.__name__}",
        hyperparameters=hp.model_dump(),
    )
    return RunHeader("test", method, describe_stream(stream, title="Toy", seed=seed))


def run_toy(
    folder: Path,
    learner: type[Learner] = ToyLearner,
    stream: Any = None,
    *,
    seed: int = 1993,
    fingerprint: str | None = "toy",
    **hyperparameters: Any,
) -> RunRecord:
    """One run in ``folder``; keyword arguments left over are hyperparameters."""
    stream = stream or ToyStream(seed=seed)
    hp = learner.Hyperparameters(**hyperparameters)
    return run(
        lambda: learner(hp, setting_of(stream, seed)),
        stream,
        folder,
        header=header_of(stream, learner, hp, seed),
        device=torch.device("cpu"),
        fingerprint=fingerprint,
    )


RESULT_FILES = (
    "predictions.parquet",
    "selection.parquet",
    "diagnostics.safetensors",
    "checkpoint.safetensors",
)


def outcome_of(folder: Path) -> dict[str, Any]:
    """All that two equal runs must have in common: the files' bytes and the record's results."""
    record = read_record(folder / "record.json").model_dump()
    for name in ("times", "started", "finished", "attempts", "peak_memory_bytes"):
        del record[name]
    return {"record": record} | {name: (folder / name).read_bytes() for name in RESULT_FILES}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_toy(Path(sys.argv[1]))
