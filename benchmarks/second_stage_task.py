"""A whole second-stage task on the tiny pair, ours compared with the released code's way.

The last of five tasks of two handwritten digits: ten epochs of training, the end of the task
(features, mixtures, thirty epochs of alignment) and the test on all ten classes. The reference
steps as in `second_stage_step.py`, makes every view from a PIL image by torchvision, fits a mixture
after the other on expanded tensors, draws and batches replayed features class by class through a
DataLoader, and runs both CLIP encoders for the test images. Both train on one thread.

It also prints the cost of our step with 10 and with 200 classes seen, two of them current, and a
bound: the time of training's matrix products alone at the best rate of a square product. No
implementation of the same steps in the same precision can be faster than this bound.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from _reference import Reference, fresh_learner
from _timing import best, report
from matmul_ceiling import TERA, ceiling
from mixture import naive_parameters
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from starprompt.backbones.clip import load_clip
from starprompt.backbones.embedding import write_embedding
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.continual.evaluation import evaluate
from starprompt.continual.flops import operations
from starprompt.data.batch import Batch
from starprompt.data.registry import load_dataset_spec
from starprompt.data.store import PreparedDataset, Split
from starprompt.data.stored_images import StoredImages
from starprompt.data.stream import TaskStream
from starprompt.data.transforms import TestView
from starprompt.replay.head_alignment import align_step

#: weights, means and variances of a class's Gaussians
Parameters = tuple[Tensor, Tensor, Tensor]

CPU = torch.device("cpu")
EPOCHS, BATCH, LR, ORTHOGONALITY, REPLAY_LR = 10, 128, 0.01, 2.0, 0.01
SAMPLES, TASK, CLASSES, CURRENT = 256, 4, 10, 2


def digits() -> PreparedDataset:
    """The handwritten digits, four fifths to train on, stored as the demo stores them."""
    bunch = load_digits()
    scans = np.round(bunch.images * 255 / 16).astype(np.uint8)
    large = [Image.fromarray(scan).resize((64, 64), Image.Resampling.BICUBIC) for scan in scans]
    images = np.stack([np.asarray(image) for image in large])[:, None].repeat(3, axis=1)
    last = np.arange(len(images)) % 5 == 4

    def split(rows: np.ndarray) -> Split:
        sizes = np.full((int(rows.sum()), 2), 64, dtype=np.int32)
        return Split(images[rows], bunch.target[rows].astype(np.int64), sizes)

    names = load_dataset_spec("digits").class_names or ()
    return PreparedDataset(
        "digits", Path(), tuple(names), {"digest": "digits"}, split(~last), split(last)
    )


def class_by_class(mixtures: Sequence[Parameters], samples: int, batch: int) -> DataLoader[Any]:
    """An epoch of replay as the released code draws it: from one mixture after the other."""
    drawn, labels = [], []
    for c, (weight, mean, variance) in enumerate(mixtures):
        component = torch.distributions.Categorical(weight).sample((samples,))
        drawn.append(
            torch.distributions.Normal(mean[component], variance[component].sqrt()).sample()
        )
        labels.append(torch.full((samples,), c))
    return DataLoader(TensorDataset(torch.cat(drawn), torch.cat(labels)), batch, shuffle=True)


def mixtures_of(
    found: Iterable[tuple[Tensor, Tensor]], current: range, iterations: int = 100
) -> list[Parameters]:
    """Class after class, the mixture of a task's features, which come in batches with labels."""
    features, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return [naive_parameters(features[labels == c], iterations) for c in current]


class Images:
    """A data set's images in batches, each made from a PIL image by torchvision's transforms."""

    def __init__(self) -> None:
        whole = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
        # config/datasets/digits.yaml, image by image
        crop = v2.RandomResizedCrop(64, (0.6, 1.0), (0.9, 1.1111), v2.InterpolationMode.BICUBIC)
        self.augment, self.plain = v2.Compose([crop, *whole]), v2.Compose(whole)

    def batches(
        self, part: Any, images: StoredImages | NDArray[np.uint8], view: Any, shuffle: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(part)) if shuffle else torch.arange(len(part))
        for rows in order.split(BATCH):
            pictures = [
                Image.fromarray(images[row].transpose(1, 2, 0)) for row in part.ids[rows.numpy()]
            ]
            yield torch.stack([view(picture) for picture in pictures]), part.labels[rows]


class ReferenceTasks(Images):
    """The released way through tasks of the second stage, on the same images, labels and keys."""

    def __init__(self, reference: Reference, stream: TaskStream, data: PreparedDataset) -> None:
        super().__init__()
        self.reference, self.stream, self.data = reference, stream, data
        self.normalise = vit_normalisation("tiny")
        self.mixtures: list[Parameters] = []

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        own = self.reference
        return own.features(self.normalise(images), own.query(images), own.keys())

    def run(self, number: int) -> dict[str, float]:
        """Seconds of training, of the task's end and of the test on all classes seen."""
        own, task = self.reference, self.stream.tasks[number]
        train, test = self.data.train.images, self.data.test.images
        start = time.perf_counter()
        own.begin_task(task.past_classes, task.seen_classes, LR)
        for _ in range(EPOCHS):
            for images, labels in self.batches(task.train, train, self.augment, shuffle=True):
                own.step(images, self.normalise(images), labels, ORTHOGONALITY)
        trained = time.perf_counter()
        views = self.batches(task.train, train, self.augment)
        found = ((self.features(images), labels) for images, labels in views)
        self.mixtures += mixtures_of(found, range(task.past_classes, task.seen_classes))
        # Where tasks were left out, theirs are these again.
        known = [self.mixtures[c % len(self.mixtures)] for c in range(task.seen_classes)]
        head = torch.nn.Linear(own.head.in_features, own.head.out_features)
        head.load_state_dict(own.head.state_dict())
        optimiser = torch.optim.SGD(head.parameters(), lr=REPLAY_LR)
        for _ in range(10 + 5 * number if number else 0):
            for x, y in class_by_class(known, SAMPLES, BATCH):
                align_step(head, optimiser, x, y, task.seen_classes)
        ended = time.perf_counter()
        for seen in self.stream.test_tasks[: number + 1]:
            for images, _ in self.batches(seen, test, self.plain):
                head(self.features(images)).argmax(dim=1)
        tested = time.perf_counter()
        return {"train": trained - start, "end": ended - trained, "test": tested - ended}


def our_task(learner: Any, stream: TaskStream) -> dict[str, float]:
    """The task as the runner learns it."""
    task = stream.tasks[TASK]
    start = time.perf_counter()
    learner.begin_task(task)
    for epoch in range(EPOCHS):
        learner.begin_epoch(epoch)
        for batch in task.train.batches(
            BATCH, epoch=epoch, inputs=learner.train_inputs, augment=True, shuffle=True
        ):
            learner.train_step(batch)
    trained = time.perf_counter()
    learner.end_task(task)
    ended = time.perf_counter()
    evaluate(learner, task, stream.test_tasks, where="ours", progress=False)
    tested = time.perf_counter()
    return {"train": trained - start, "end": ended - trained, "test": tested - ended}


def products_seconds(learner: Any, stream: TaskStream) -> float:
    """What the products of all training steps take at the device's best rate."""
    task = stream.tasks[TASK]
    learner.begin_task(task)
    counted = sum(
        operations(partial(learner.train_step, batch))
        for batch in task.train.batches(BATCH, inputs=learner.train_inputs, augment=True)
    )
    return EPOCHS * counted / (TERA * ceiling(torch.float32, CPU))


def step_milliseconds(clip: Any, repeats: int = 12) -> tuple[dict[int, float], dict[int, float]]:
    """Our step, and the reference's, by the number of classes seen."""
    images = torch.rand(BATCH, 3, 64, 64)
    ours, theirs = {}, {}
    for classes in (CLASSES, 200):
        contexts = 0.02 * torch.randn(classes, clip.text_width)
        reference = Reference(clip, load_vit("tiny"), classes, contexts)
        past = classes - CURRENT
        reference.begin_task(past, classes, LR)
        learner = fresh_learner(
            clip, "tiny", classes, reference.keys(), CPU, task_ends=(past, classes)
        )
        learner.begin_task(SimpleNamespace(past_classes=past, seen_classes=classes))
        labels = torch.randint(past, classes, (BATCH,))
        batch = Batch(torch.arange(BATCH), labels, images)
        normalised = learner.setting.vit_normalisation(images)
        ours[classes] = lambda learner=learner, batch=batch: learner.train_step(batch)
        theirs[classes] = lambda own=reference, n=normalised, y=labels: own.step(images, n, y, 2.0)
    times: dict[str, dict[int, float]] = {"ours": {}, "theirs": {}}
    # in turns, so that what else the machine does meets both numbers of classes
    for _ in range(repeats):
        for classes in ours:
            once = best(ours[classes], 1, wall=True)
            times["ours"][classes] = min(once, times["ours"].get(classes, once))
    for classes in theirs:
        times["theirs"][classes] = best(theirs[classes], 2, wall=True)
    return times["ours"], times["theirs"]


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data, clip = digits(), load_clip("tiny")
    spec = load_dataset_spec("digits")
    contexts = 0.02 * torch.randn(CLASSES, clip.text_width)
    reference = Reference(clip, load_vit("tiny"), CLASSES, contexts)
    reference.past, reference.seen = 0, CLASSES
    with tempfile.TemporaryDirectory() as folder:
        embedding = write_embedding(
            Path(folder) / "tiny.safetensors",
            clip,
            data.train.images,
            data.test.images,
            TestView(tuple(spec.test_transform)),
            data.digest,
            progress=False,
        )
        stream = TaskStream(data, spec, 1993, CPU, embedding=embedding)
    learner = fresh_learner(
        clip,
        "tiny",
        CLASSES,
        reference.keys(),
        CPU,
        task_ends=stream.info.task_ends,
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=LR,
        orthogonality=ORTHOGONALITY,
        replay_lr=REPLAY_LR,
    )
    for task in stream.tasks[:TASK]:  # the past, without its training
        learner.begin_task(task)
        learner.end_task(task)
    ours = our_task(learner, stream)
    theirs = ReferenceTasks(reference, stream, data).run(TASK)
    bound = sum(theirs.values()) / products_seconds(learner, stream)
    our_steps, their_steps = step_milliseconds(clip)
    ratio = sum(theirs.values()) / sum(ours.values())
    print(f"last of five tasks, C {CLASSES}, {len(stream.tasks[TASK].train)} training images")
    print("               train    end   test  whole [s]")
    for name, seconds in (("reference", theirs), ("ours", ours)):
        columns = "".join(f"{seconds[part]:7.2f}" for part in ("train", "end", "test"))
        print(f"  {name:10} {columns}{sum(seconds.values()):7.2f}")
    for classes in our_steps:
        print(
            f"  a step with {classes:3d} classes seen: reference "
            f"{1e3 * their_steps[classes]:.1f} ms, ours {1e3 * our_steps[classes]:.1f} ms"
        )
    print(f"  with nothing but its products, at their best rate: {bound:.2f} times the reference")
    growth = our_steps[200] / our_steps[CLASSES] - 1
    print(f"  ours grows by {growth:.1%} from {CLASSES} to 200 classes")
    report(
        "second_stage_task",
        round(ratio, 2),
        largest_possible_ratio=round(bound, 2),
        naive_seconds={k: round(v, 3) for k, v in theirs.items()},
        ours_seconds={k: round(v, 3) for k, v in ours.items()},
        step_growth_10_to_200=round(growth, 4),
        step_ratio={str(c): round(their_steps[c] / our_steps[c], 2) for c in our_steps},
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
