"""A batch, and what a learner knows about its stream."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images of one task, with labels in the stream's own numbering.

    ids     (B,)       int64    row of the image in its prepared split
    labels  (B,)       int64    stream label: classes are numbered in the order they arrive
    images  (B,3,H,W)  float32  one view, in [0, 1], NOT normalised: ViT and CLIP each apply their
                                own statistics to the same view; None where none was asked for
    clip    (B,d)      float32  cached CLIP features (not normalised) of the clean image under
                                CLIP's own preprocessing; None without an embedding
    query   (B,d)      float32  cached CLIP features of the data set's clean test view, what the
                                released code's queries see at test time; None without an embedding
    """

    ids: Tensor
    labels: Tensor
    images: Tensor | None = None
    clip: Tensor | None = None
    query: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, size: int) -> list["Batch"]:
        """Itself, if it has no more than ``size`` images, else parts of so many, the last fewer."""
        if size >= len(self):
            return [self]
        fields = (self.ids, self.labels, self.images, self.clip, self.query)
        parts = [
            [None] * -(-len(self) // size) if field is None else field.split(size)
            for field in fields
        ]
        return [Batch(*part) for part in zip(*parts, strict=True)]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on ``device``."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            self.ids.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            move(self.images),
            move(self.clip),
            move(self.query),
        )


@lru_cache(maxsize=64)
def _column(values: tuple[float, float, float], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(1,3,1,1) of ``values``, kept: making it anew would copy from the host at every step."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype).view(1, 3, 1, 1)


@dataclass(frozen=True)
class Normalisation:
    """Per-channel statistics that a view is normalised with: (view - mean) / std."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise (B,3,H,W) images in [0, 1]."""
        mean = _column(self.mean, images.device, images.dtype)
        return (images - mean) / _column(self.std, images.device, images.dtype)


@dataclass(frozen=True)
class StreamInfo:
    """What a learner may know of a stream before it begins: names and sizes, never an image.

    class_names are in stream order: ``class_names[y]`` names stream label ``y``.
    task_ends[t] is the number of classes seen once task t has been learned.
    """

    dataset: str
    class_names: tuple[str, ...]
    task_ends: tuple[int, ...]
    image_size: int
    normalisation: Normalisation
    templates: tuple[str, ...] = ("a photo of a {}.",)

    @property
    def n_classes(self) -> int:
        """Number of classes of the whole stream."""
        return len(self.class_names)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.task_ends)

    def task_of_class(self) -> Tensor:
        """(C,) int64: the task in which each stream label arrives."""
        labels = torch.arange(self.n_classes)
        return torch.bucketize(labels, torch.tensor(self.task_ends), right=True)
