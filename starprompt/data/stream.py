"""The task stream: a prepared data set, ordered by a seed and cut into tasks.

A stream label is a class's place in the order of arrival: source label y becomes ``order[y]``, as
in the released code, so that runs can be compared with it class by class.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.data.features import FEATURE_KINDS, Features
from starprompt.data.registry import DatasetSpec
from starprompt.data.store import SPLITS, PreparedDataset, Split, data_digest, fingerprint
from starprompt.data.stored_images import read_rows
from starprompt.data.transforms import TestView, TrainView, generator_for
from starprompt.errors import UserError
from starprompt.files import digest_of

#: Seed of the part of the training images that stands in for the test split while tuning.
VALIDATION_SEED = 0
INPUTS = ("images", "features")


def class_order(n_classes: int, seed: int) -> NDArray[np.int64]:
    """``order[y]`` is the stream label of source label y: NumPy's legacy permutation, as released.

    Equal to ``np.random.seed(seed); np.random.permutation(n_classes)``, without touching NumPy's
    global state. Raises :class:`UserError` for a seed that is not a whole number in 0..2**32-1.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise UserError(f"The seed {seed!r} is not a whole number; give one such as 1993.")
    if not 0 <= seed < 2**32:
        raise UserError(f"The seed {seed} is out of range; give a number from 0 to {2**32 - 1}.")
    return np.random.RandomState(int(seed)).permutation(n_classes).astype(np.int64)


@dataclass(frozen=True)
class _Views:
    """What all parts of one stream share."""

    train: TrainView
    test: TestView
    device: torch.device
    seed: int


class TaskData:
    """One split's images of one task.

    ids (N,) int64: rows in the prepared split. labels (N,) int64 tensor: stream labels.
    """

    def __init__(
        self,
        split: Split,
        ids: NDArray[np.int64],
        labels: Tensor,
        views: _Views,
        features: Features | None,
        task: int,
    ) -> None:
        self.ids = ids
        self.labels = labels
        self._split = split
        self._views = views
        self._features = features
        self._task = task

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def together(cls, parts: Sequence["TaskData"]) -> "TaskData":
        """The images of ``parts`` one after the other, which must be of one split of one stream."""
        first = parts[0]
        if any(
            part._split is not first._split or part._views is not first._views for part in parts
        ):
            raise ValueError("these images are not from one split of one stream")
        ids = np.concatenate([part.ids for part in parts])
        labels = torch.cat([part.labels for part in parts])
        return cls(first._split, ids, labels, first._views, first._features, first._task)

    def features(self, kind: str) -> Tensor:
        """(N,d) float32 cached CLIP features of the clean images, on the stream's device.

        kind  "clip": CLIP's own preprocessing; "query": the data set's test view.
        Raises :class:`UserError` when the stream was opened without an embedding.
        """
        if kind not in FEATURE_KINDS:
            raise ValueError(f"there is no kind of features {kind!r}; there are {FEATURE_KINDS}")
        if self._features is None:
            raise UserError(
                "This method needs cached CLIP features, but the stream was opened without an "
                "embedding; run `starprompt embed` for the data set first."
            )
        return self._features.rows(kind, self.ids).to(self._views.device)

    def batches(
        self,
        batch_size: int,
        *,
        epoch: int = 0,
        inputs: Sequence[str] = ("images",),
        augment: bool = False,
        shuffle: bool = False,
        first: int = 0,
    ) -> Iterator[Batch]:
        """Batches on the stream's device; the last one may be smaller.

        inputs   of "images" (a view in [0, 1]) and "features" (clip and query)
        augment  the training view, random per image; otherwise the clean test view
        first    the batch to begin with; those before it are not read

        Order and augmentation depend on (seed, task, epoch, batch) alone.
        """
        if batch_size < 1:
            raise UserError(f"The batch size {batch_size} is not positive; give 1 or more.")
        if unknown := set(inputs) - set(INPUTS):
            raise ValueError(f"unknown inputs {sorted(unknown)}; there are {INPUTS}")
        key = (self._views.seed, self._task, epoch)
        rows = torch.arange(len(self))
        if shuffle:
            rows = torch.randperm(len(self), generator=generator_for("order", *key))
        device = self._views.device
        clip = self.features("clip") if "features" in inputs else None
        query = self.features("query") if "features" in inputs else None
        chunks = rows.split(batch_size)[first:] if len(self) else ()
        wants_images = "images" in inputs
        for index, (chunk, raw) in enumerate(self._with_pixels(chunks, wants_images), first):
            images = None
            if raw is not None:
                sizes = torch.from_numpy(self._split.sizes[self.ids[chunk.numpy()]])
                pixels = raw.to(device, non_blocking=True)
                if augment:
                    generator = generator_for("augment", *key, index)
                    images = self._views.train(pixels, generator, sizes)
                else:
                    images = self._views.test(pixels, sizes)
            # Nothing here waits for the device, which may be steps behind.
            on_device = chunk.to(device, non_blocking=True)
            yield Batch(
                ids=torch.from_numpy(self.ids[chunk.numpy()]).to(device, non_blocking=True),
                labels=self.labels[chunk].to(device, non_blocking=True),
                images=images,
                clip=None if clip is None else clip[on_device],
                query=None if query is None else query[on_device],
            )

    def stored(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The images of ``ids`` as they are stored, for a learner that keeps some.

        ids (B,) of this task, as batches carry them. Returns (B,3,H,W) uint8 and (B,2) int32
        original heights and widths, on the CPU. Raises LookupError for an image of another task.
        """
        rows = ids.cpu().numpy()
        if not np.isin(rows, self.ids).all():
            raise LookupError(f"an image outside the task {self._task} was requested")
        images = torch.from_numpy(np.asarray(self._split.images[rows]))
        return images, torch.from_numpy(self._split.sizes[rows])

    def view(
        self, images: Tensor, sizes: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """(B,3,h,w) float32 view in [0, 1], on the stream's device, of kept images.

        images (B,3,H,W) uint8 and sizes (B,2), as :meth:`stored` gave them; the training view,
        drawn from ``generator`` (CPU), or the clean test view without one.
        """
        if generator is None:
            return self._views.test(images.to(self._views.device), sizes)
        return self._views.train(images.to(self._views.device), generator, sizes)

    def _with_pixels(
        self, chunks: Sequence[Tensor], wanted: bool
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Each chunk of rows with its uint8 images, read ahead by one while the last is used."""
        if not wanted:
            yield from ((chunk, None) for chunk in chunks)
            return
        with ThreadPoolExecutor(1) as reader:
            waiting: Future[Tensor] | None = None
            for i, chunk in enumerate(chunks):
                raw = self._read(chunk) if waiting is None else waiting.result()
                waiting = reader.submit(self._read, chunks[i + 1]) if i + 1 < len(chunks) else None
                yield chunk, raw

    def _read(self, chunk: Tensor) -> Tensor:
        """(B,3,H,W) uint8 from the disk; where the device is a GPU, straight into pinned
        memory, from which the copy to the device runs beside everything else."""
        rows, stored = self.ids[chunk.numpy()], self._split.images
        images = torch.empty(
            (len(rows), *stored.shape[1:]),
            dtype=torch.uint8,
            pin_memory=self._views.device.type == "cuda",
        )
        read_rows(stored)(rows, images.numpy())
        return images


@dataclass(frozen=True)
class Task:
    """One step of the stream: ``past_classes`` were seen before it, ``seen_classes`` after it."""

    index: int
    past_classes: int
    seen_classes: int
    train: TaskData
    test: TaskData
    name: str

    @property
    def current(self) -> range:
        """Stream labels of the classes that arrive with this task."""
        return range(self.past_classes, self.seen_classes)


class TaskStream(Sequence[Task]):
    """A prepared data set as tasks, in the order that a seed gives.

    prepared    see :func:`starprompt.data.store.open_prepared`
    embedding   file of cached CLIP features of this very data set, or None
    joint       one training task of all classes; ``test_tasks`` and ``info`` stay those of the
                sequence, so that accuracies compare
    validation  share of each class's training images that stands in for the test split, which is
                then never touched; None for the real split
    first_tasks keep only the first N tasks and their images; ``info`` goes
                on naming all classes
    order_seed  gives the order of the classes instead of ``seed``, which then gives the order of
                images and their augmentation alone; None for ``seed``, as released

    Raises :class:`UserError` before anything trains when the stream cannot be: tasks that do not
    fit the classes, a class without training or test image, a seed that is no whole number, an
    embedding of other data.
    """

    def __init__(
        self,
        prepared: PreparedDataset,
        spec: DatasetSpec,
        seed: int,
        device: torch.device | str = "cpu",
        *,
        embedding: Path | None = None,
        joint: bool = False,
        validation: float | None = None,
        first_tasks: int | None = None,
        order_seed: int | None = None,
    ) -> None:
        refuse_other_description(prepared, spec)
        n_classes = prepared.n_classes
        self.order = class_order(n_classes, seed if order_seed is None else order_seed)
        self.seed = int(seed)
        self.device = torch.device(device)
        self.joint = joint
        names: list[str] = [""] * n_classes
        for source_label, name in enumerate(prepared.class_names):
            names[self.order[source_label]] = name
        self.info = StreamInfo(
            dataset=spec.name,
            class_names=tuple(names),
            task_ends=spec.task_ends(n_classes),
            image_size=spec.image_size,
            normalisation=Normalisation(
                _triple(spec.normalisation.mean), _triple(spec.normalisation.std)
            ),
            templates=tuple(spec.templates),
        )
        #: what all methods on this data set share: images, splits and the clean view
        self.data_digest = data_digest(prepared, spec, validation)
        #: what this very stream is: order, tasks, augmentation and cached features too
        self.digest = digest_of(
            {
                "data": prepared.digest,
                "task_ends": self.info.task_ends,
                "seed": self.seed,
                "joint": joint,
                "validation": validation,
                "train": [step.model_dump() for step in spec.train_transform],
                "test": [step.model_dump() for step in spec.test_transform],
                "features": None if embedding is None else Features.describe(embedding),
            }
        )
        if first_tasks is not None:
            self.digest = digest_of({"whole": self.digest, "first_tasks": first_tasks})
        if order_seed not in (None, seed):  # streams of before there was one keep their digest
            self.digest = digest_of({"whole": self.digest, "order_seed": order_seed})
        rows = _split_rows(prepared, validation)
        splits = {
            "train": prepared.train,
            "test": prepared.test if validation is None else prepared.train,
        }
        features: dict[str, Features | None] = {"train": None, "test": None}
        if embedding is not None:
            counts = {split: len(getattr(prepared, split)) for split in SPLITS}
            opened = Features.open(embedding, prepared.digest, counts, view_digest(spec))
            of_test = "test" if validation is None else "train"
            features = {"train": opened["train"], "test": opened[of_test]}
        labels = {part: self.order[splits[part].labels] for part in splits}
        self._refuse_empty(prepared.name, {part: labels[part][rows[part]] for part in rows})
        views = _Views(
            TrainView(tuple(spec.train_transform)),
            TestView(tuple(spec.test_transform)),
            self.device,
            self.seed,
        )

        def data(part: str, first: int, last: int, task: int) -> TaskData:
            here = labels[part][rows[part]]
            ids = rows[part][(here >= first) & (here < last)]
            stream_labels = torch.from_numpy(labels[part][ids])
            return TaskData(splits[part], ids, stream_labels, views, features[part], task)

        bounds = list(pairwise((0, *self.info.task_ends)))[:first_tasks]
        if not bounds or (first_tasks is not None and first_tasks < 1):
            raise UserError(
                f"A stream of {first_tasks} tasks has nothing to train on; give 1 or more."
            )
        self.test_tasks = [data("test", a, b, t) for t, (a, b) in enumerate(bounds)]
        if joint:
            bounds = [(0, bounds[-1][1])]
        self.tasks = [
            Task(
                index=t,
                past_classes=a,
                seen_classes=b,
                train=data("train", a, b, t),
                test=data("test", a, b, t),
                name=f"task {t + 1} of {len(bounds)}",
            )
            for t, (a, b) in enumerate(bounds)
        ]

    def __len__(self) -> int:
        return len(self.tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...

    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        return self.tasks[index]

    def _refuse_empty(self, dataset: str, labels: dict[str, NDArray[np.int64]]) -> None:
        for part, present in labels.items():
            counts = np.bincount(present, minlength=self.info.n_classes)
            if (counts == 0).any():
                name = self.info.class_names[int(np.argmin(counts))]
                raise UserError(
                    f"Data set {dataset!r}: the class {name!r} has no {part} image; add some or "
                    "leave the class out, and prepare it again."
                )


def view_digest(spec: DatasetSpec) -> str:
    """What the cached ``query`` features depend on, beside the images: the clean test view."""
    return digest_of([step.model_dump(mode="json") for step in spec.test_transform])


def refuse_other_description(prepared: PreparedDataset, spec: DatasetSpec) -> None:
    """Refuse images that were prepared from another description than ``spec``."""
    known = prepared.manifest.get("fingerprint")
    if known is not None and known != fingerprint(spec):
        raise UserError(
            f"{prepared.folder} was prepared from another description (sources, stored size or "
            f"class names) than {spec.name!r} has now; run `starprompt data prepare {spec.name}`."
        )


def _triple(values: list[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _split_rows(
    prepared: PreparedDataset, validation: float | None
) -> dict[str, NDArray[np.int64]]:
    """Rows of the training and the test part; with ``validation``, both of the training split."""
    every = np.arange(len(prepared.train), dtype=np.int64)
    if validation is None:
        return {"train": every, "test": np.arange(len(prepared.test), dtype=np.int64)}
    if not 0.0 < validation < 1.0:
        raise UserError(
            f"The validation share {validation} is not between 0 and 1; give one such as 0.2."
        )
    random = np.random.default_rng(VALIDATION_SEED)
    held = np.zeros(len(every), dtype=bool)
    for label in range(prepared.n_classes):
        members = every[prepared.train.labels == label]
        count = max(1, round(validation * len(members))) if len(members) else 0
        held[random.permutation(members)[:count]] = True
    return {"train": every[~held], "test": every[held]}
