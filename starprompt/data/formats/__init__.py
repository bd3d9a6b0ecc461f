"""One reader a source format: from files as they were published to labelled raw images.

A reader module has ``read(source, files) -> Listing``. It lists and labels; it decodes nothing,
so that :mod:`starprompt.data.prepare` can decode in parallel, in bounded memory, and go on after
an interruption.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: An image as a source holds it: a file, an encoded file's bytes, or pixels (H,W), (H,W,3) uint8.
Raw = Path | bytes | NDArray[Any]


class RawImages(Protocol):
    """The images of one split, in source order, handed out in runs of rows."""

    def __len__(self) -> int: ...

    def take(self, start: int, stop: int) -> Sequence[Raw]:
        """Rows start..stop-1, not decoded."""
        ...

    def name(self, row: int) -> str:
        """What a person would call that image, for messages."""
        ...


@dataclass(frozen=True)
class RawSplit:
    """Images and labels (N,) int64 of one split; labels are in the source's class order."""

    images: RawImages
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Listing:
    """What a reader found. ``provenance`` goes into the manifest as it is (JSON-able)."""

    train: RawSplit
    test: RawSplit
    class_names: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ArrayImages:
    """Images that are in memory (or memory-mapped) as (N,H,W) or (N,H,W,3) uint8."""

    pixels: NDArray[np.uint8]
    label: str

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, start: int, stop: int) -> Sequence[Raw]:
        return list(self.pixels[start:stop])

    def name(self, row: int) -> str:
        return f"{self.label}[{row}]"
