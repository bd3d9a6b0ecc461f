"""A prepared data set on disk: memory-mapped pixels, labels, names and a manifest.

    NAME/train_images.npy  uint8 (N,3,H,W), RGB        NAME/test_images.npy
    NAME/train_labels.npy  int64 (N,), source order    NAME/test_labels.npy
    NAME/train_sizes.npy   int32 (N,2), height and     NAME/test_sizes.npy
                           width before storing
    NAME/class_names.json  in source order             NAME/manifest.json

Nothing that reads it opens an image file, a pickle or the network; it may lie on a read-only share.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starprompt.errors import UserError

#: Raised when what the files mean changes: older ones are then prepared again.
FORMAT_VERSION = 1
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Split:
    """One split, rows in source order.

    images (N,3,H,W) uint8 memory map; labels (N,) int64 source labels; sizes (N,2) int32 heights
    and widths, in original pixels, of what the stored images show.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared data set; ``class_names`` in source order, ``digest`` of all it holds."""

    name: str
    folder: Path
    class_names: tuple[str, ...]
    manifest: dict[str, Any]
    train: Split
    test: Split

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    @property
    def n_classes(self) -> int:
        return len(self.class_names)


def prepared_folder(root: Path, name: str) -> Path:
    """Where the data set ``name`` lies once prepared."""
    return Path(root) / "prepared" / name


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a prepared data set; None where there is none or it cannot be read."""
    try:
        value = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def open_prepared(folder: Path) -> PreparedDataset:
    """Open a prepared data set without reading its pixels.

    Raises :class:`UserError` when it is not there or a file of it is damaged.
    """
    folder = Path(folder)
    name = folder.name
    manifest = read_manifest(folder)
    if manifest is None:
        raise UserError(
            f"Data set {name!r} is not prepared: there is no {folder / 'manifest.json'}; "
            f"run `starprompt data prepare {name}`."
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder} was prepared in format {manifest.get('format_version')}, this version "
            f"reads {FORMAT_VERSION}; run `starprompt data prepare {name}`."
        )
    try:
        class_names = tuple(json.loads((folder / "class_names.json").read_text(encoding="utf-8")))
        train, test = (_open_split(folder, split) for split in SPLITS)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{folder} is damaged ({error}); remove it and run `starprompt data prepare {name}`."
        ) from error
    return PreparedDataset(name, folder, class_names, manifest, train, test)


def _open_split(folder: Path, split: str) -> Split:
    images = np.load(folder / f"{split}_images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}_labels.npy")
    sizes = np.load(folder / f"{split}_sizes.npy")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"{split}_images.npy holds {images.dtype} {images.shape}")
    if not len(images) == len(labels) == len(sizes):
        raise ValueError(f"{len(images)} {split} images but {len(labels)} labels")
    return Split(images, labels, sizes)
