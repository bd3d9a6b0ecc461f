"""One reader a source format: from files as they were published to labelled raw images.

A reader module has ``read(form, files, work) -> Listing``: the format's parameters, the folder of
the published files, and a folder to unpack into. It lists and labels; it decodes nothing, so that
:mod:`starprompt.data.prepare` can decode in parallel, in bounded memory, and go on after an
interruption.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from starprompt.data.registry import MOST_CLASSES
from starprompt.errors import UserError

#: An image as a source holds it: a file, an encoded file's bytes, or pixels (H,W) or (H,W,3), uint8
#: in 0..255 or floating point in [0, 1].
Raw = Path | bytes | NDArray[Any]


class RawImages(Protocol):
    """The images of one split, in source order, handed out in runs of rows."""

    def __len__(self) -> int: ...

    def take(self, start: int, stop: int) -> Sequence[Raw]:
        """Rows start..stop-1, not decoded."""
        ...

    def name(self, row: int) -> str:
        """The image's name for messages."""
        ...


@dataclass(frozen=True)
class RawSplit:
    """Images and labels (N,) int64 of one split; labels are in the source's class order."""

    images: RawImages
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "RawSplit":
        """Some rows of a split of files."""
        if not isinstance(self.images, FileImages):
            raise TypeError("only a split of files can be cut")
        paths = tuple(self.images.paths[row] for row in rows)
        return RawSplit(FileImages(paths), self.labels[rows])


@dataclass(frozen=True)
class Listing:
    """What a reader found. ``provenance`` goes into the manifest as it is (JSON-able)."""

    train: RawSplit
    test: RawSplit
    class_names: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileImages:
    """Images that are files."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, start: int, stop: int) -> Sequence[Raw]:
        """Paths of rows start..stop-1."""
        return list(self.paths[start:stop])

    def name(self, row: int) -> str:
        """The image's path."""
        return str(self.paths[row])


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory or in a map: an array (N,H,W), (N,H,W,3), or a list of such images."""

    pixels: Sequence[NDArray[Any]] | NDArray[Any]
    label: str

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, start: int, stop: int) -> Sequence[Raw]:
        """Pixels of rows start..stop-1."""
        return list(self.pixels[start:stop])

    def name(self, row: int) -> str:
        """The array's label and the row."""
        return f"{self.label}[{row}]"


def class_numbers(labels: Any, where: str) -> NDArray[np.int64]:
    """(N,) int64 labels of a list, tuple or integer array; nothing is rounded or converted.

    ``where`` is named in messages. Raises :class:`UserError` for anything but whole numbers from
    0 to below :data:`MOST_CLASSES`.
    """
    if isinstance(labels, np.ndarray) and labels.dtype != object:
        # One column is how some archives store a row.
        is_row = labels.ndim in (1, 2) and labels.size in labels.shape
        flat = labels.reshape(-1) if is_row else None
        if flat is None or flat.dtype.kind not in "iu":
            raise UserError(
                f"The labels {where} are {labels.dtype} of shape {labels.shape}, not a row of "
                "whole numbers; download it again or correct them."
            )
    else:
        values = list(labels) if isinstance(labels, list | tuple | np.ndarray) else [labels]
        odd = [v for v in values if isinstance(v, bool) or not isinstance(v, int | np.integer)]
        if odd or not isinstance(labels, list | tuple | np.ndarray):
            shown = repr((odd or values)[0])[:100]
            raise UserError(
                f"The labels {where} hold {shown}, which is not a whole number; correct it."
            )
        flat = np.asarray([min(max(int(v), -1), MOST_CLASSES) for v in values], dtype=np.int64)
    lowest, highest = (int(flat.min()), int(flat.max())) if flat.size else (0, 0)
    if lowest < 0 or highest >= MOST_CLASSES:
        raise UserError(
            f"The labels {where} range from {lowest} to {highest}, but must lie between 0 and "
            "the number of classes minus 1; correct them."
        )
    return flat.astype(np.int64)


def numbered_names(*labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Stand-ins for class names where a source has none: the labels' numbers."""
    highest = max(int(part.max(initial=-1)) for part in labels)
    return tuple(str(label) for label in range(highest + 1))


def stratified_split(
    labels: NDArray[np.int64], test_share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of a training and a test part, each in order; every class of two or more is in both."""
    random = np.random.default_rng(seed)
    is_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(1, round(test_share * len(rows))), len(rows) - 1)
        is_test[random.permutation(rows)[:count]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
