"""A small real stream: some of the digit scans, the tiny pair, features as `embed` makes them.

On it a method's contract is judged in seconds on a CPU, without a download. A learner is made and
learns here as the runner does it.
"""

import atexit
import shutil
from functools import lru_cache
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from PIL import Image

from starprompt.backbones.clip import load_clip
from starprompt.backbones.embedding import write_embedding
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.continual.learner import Learner, Setting
from starprompt.continual.seeding import seed_everything
from starprompt.data.batch import Batch
from starprompt.data.registry import DatasetSpec, load_dataset_spec
from starprompt.data.store import PreparedDataset, Split
from starprompt.data.stream import Task, TaskStream
from starprompt.data.transforms import TestView
from starprompt.machine.memory import MicroBatch

CPU = torch.device("cpu")


@lru_cache
def digits() -> DatasetSpec:
    """The description of the handwritten digits."""
    return load_dataset_spec("digits")


@lru_cache
def prepared(train: int = 24, test: int = 6) -> PreparedDataset:
    """So many training and test scans of each digit, stored as the preparation stores them."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rows = [np.flatnonzero(bunch.target == digit) for digit in range(10)]

    def split(chosen: list[np.ndarray]) -> Split:
        ids = np.concatenate(chosen)
        scans = np.round(bunch.images[ids] * 255 / 16).astype(np.uint8)
        large = [Image.fromarray(s).resize((64, 64), Image.Resampling.BICUBIC) for s in scans]
        images = np.stack([np.asarray(image) for image in large])[:, None].repeat(3, axis=1)
        sizes = np.full((len(ids), 2), 64, dtype=np.int32)
        return Split(images, bunch.target[ids].astype(np.int64), sizes)

    return PreparedDataset(
        "digits",
        Path("digits"),
        tuple(digits().class_names or ()),
        {"digest": f"{train}-{test}"},
        split([r[:train] for r in rows]),
        split([r[train : train + test] for r in rows]),
    )


@lru_cache
def embedding() -> Path:
    """The features of :func:`prepared`, written by the real writer."""
    data = prepared()
    folder = mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_embedding(
        Path(folder) / "tiny.safetensors",
        load_clip("tiny"),
        data.train.images,
        data.test.images,
        TestView(tuple(digits().test_transform)),
        data.digest,
        progress=False,
    )


def small_stream(
    tasks: list[int] | None = None, seed: int = 1993, *, joint: bool = False
) -> TaskStream:
    """240 training and 60 test scans as tasks of these sizes (two classes each by default)."""
    spec = digits() if tasks is None else digits().model_copy(update={"tasks": tasks})
    return TaskStream(prepared(), spec, seed, CPU, embedding=embedding(), joint=joint)


def make(
    learner: type[Learner],
    stream: TaskStream,
    keys: Path | None = None,
    *,
    precision: str = "float32",
    micro_batch: MicroBatch = "auto",
    **hp: Any,
) -> Learner:
    """A learner on the tiny pair, set up as the runner does it."""
    seed_everything(stream.seed, "setup")
    setting = Setting(
        stream=stream.info,
        device=CPU,
        seed=stream.seed,
        vit=lambda: load_vit("tiny", precision=precision),
        clip=lambda: load_clip("tiny", precision=precision),
        vit_normalisation=vit_normalisation("tiny"),
        keys=keys,
        precision=precision,
        micro_batch=micro_batch,
    )
    return learner(learner.Hyperparameters(**hp), setting)


def learn(learner: Learner, task: Task) -> list[dict[str, float]]:
    """One task as the runner learns it; the losses of every step."""
    seed_everything(learner.setting.seed, "task", task.index)
    learner.begin_task(task)
    losses = take_steps(learner, task)
    learner.end_task(task)
    return losses


def take_steps(
    learner: Learner, task: Task, first: int = 0, last: int | None = None
) -> list[dict[str, float]]:
    """The task's steps ``first`` to ``last``, counted over all epochs, and their losses."""
    losses = []
    an_epoch = -(-len(task.train) // learner.batch_size)
    end = learner.epochs * an_epoch if last is None else last
    for epoch in range(first // an_epoch, -(-end // an_epoch)):
        learner.begin_epoch(epoch)
        begin = max(first - epoch * an_epoch, 0)
        batches = task.train.batches(
            learner.batch_size,
            epoch=epoch,
            inputs=learner.train_inputs,
            augment=learner.augment,
            shuffle=True,
            first=begin,
        )
        for batch in islice(batches, end - epoch * an_epoch - begin):
            step = learner.train_step(batch)
            losses.append({name: float(value.detach()) for name, value in step.items()})
    return losses


def images_of(learner: Learner, stream: TaskStream, *tasks: int) -> Batch:
    """All test images of some tasks, as one batch of what the learner asks for."""
    tests = [stream.test_tasks[task] for task in tasks]
    together = type(tests[0]).together(tests)
    return next(iter(together.batches(len(together), inputs=learner.test_inputs)))
