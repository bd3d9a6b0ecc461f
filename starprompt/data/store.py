"""A prepared data set on disk: pixels, labels, names and a manifest.

    NAME/train_images.npy  uint8 (N,3,H,W), RGB        NAME/test_images.npy
    NAME/train_labels.npy  int64 (N,), source order    NAME/test_labels.npy
    NAME/train_sizes.npy   int32 (N,2), height and     NAME/test_sizes.npy
                           width before storing
    NAME/class_names.json  in source order             NAME/manifest.json

Nothing that reads it opens an image file, a pickle or the network; it may lie on a read-only share.
"""

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starprompt.data.registry import DatasetSpec
from starprompt.data.sources import Source
from starprompt.data.stored_images import CHUNK_ROWS, Digests, StoredImages
from starprompt.errors import UserError, reason
from starprompt.files import digest_of, read_text, read_trouble, says_damage

#: Raised when what the files mean changes: older ones are then prepared again.
FORMAT_VERSION = 1
SPLITS = ("train", "test")
#: largest manifest that is read, in bytes
MOST_MANIFEST = 64_000_000
#: a split's arrays
PARTS = ("images", "labels", "sizes")


@dataclass(frozen=True)
class Split:
    """One split, rows in source order.

    images (N,3,H,W) uint8, on disk or in memory; labels (N,) int64 source labels; sizes (N,2)
    int32 heights and widths, in original pixels, of what the stored images show.
    """

    images: StoredImages | NDArray[np.uint8]
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
        """Hex SHA-256 of the prepared images, as the manifest has it."""
        return str(self.manifest["digest"])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def fingerprint(spec: DatasetSpec) -> str:
    """Digest of all in a spec that the prepared files depend on (not tasks or transforms)."""
    return digest_of(
        {
            "format": FORMAT_VERSION,
            "sources": [_pixel_facts(source) for source in spec.sources],
            "stored": spec.stored.model_dump(),
            "class_names": spec.class_names,
        }
    )


def _pixel_facts(source: Source) -> dict[str, Any]:
    """A source as the fingerprint has it; ``exif: false`` is how images were read before the key
    was there."""
    facts = source.model_dump()
    if facts["format"].get("exif") is False:
        del facts["format"]["exif"]
    return facts


def data_digest(prepared: PreparedDataset, spec: DatasetSpec, validation: float | None) -> str:
    """What all methods on a data set share: images, splits and the clean view.

    validation  share of the training images that stands in for the test split
    """
    return digest_of(
        {
            "data": prepared.digest,
            "validation": validation,
            "test": [step.model_dump() for step in spec.test_transform],
        }
    )


def prepared_folder(root: Path, name: str) -> Path:
    """Where the data set ``name`` lies once prepared."""
    return Path(root) / "prepared" / name


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a prepared data set; None where there is none or it cannot be read."""
    try:
        value = json.loads(read_text(folder / "manifest.json", MOST_MANIFEST))
    except (UserError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def open_prepared(folder: Path) -> PreparedDataset:
    """Open a prepared data set without reading its pixels, which are checked at their first use.

    Raises :class:`UserError` when it is not there or a file of it is not the one that its manifest
    names.
    """
    folder = Path(folder)
    name = folder.name
    manifest = read_manifest(folder)
    if manifest is None and (folder / "manifest.json").exists():
        raise UserError(
            f"{folder / 'manifest.json'} is damaged; remove {folder} and run "
            f"`starprompt data prepare {name}`."
        )
    if manifest is None:
        raise UserError(
            f"Data set {name!r} is not prepared: there is no {folder / 'manifest.json'}; "
            f"run `starprompt data prepare {name}`."
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder} was prepared in format {manifest.get('format_version')}, but this "
            f"version reads {FORMAT_VERSION}; run `starprompt data prepare {name}`."
        )
    try:
        _check_manifest(manifest, name)
        checksums: dict[str, str] = manifest["sha256"]
        names = json.loads(_checked(folder / "class_names.json", checksums, MOST_MANIFEST))
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError("class_names.json does not hold a list of names")
        train, test = (_open_split(folder, split, manifest, len(names)) for split in SPLITS)
    except (OSError, ValueError, EOFError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OSError) and not says_damage(error):
            raise read_trouble(Path(error.filename or folder), error) from error
        what = reason(error)
        raise UserError(
            f"{folder} is damaged ({what}); remove it and run `starprompt data prepare {name}`."
        ) from error
    return PreparedDataset(name, folder, tuple(names), manifest, train, test)


def _check_manifest(manifest: dict[str, Any], name: str) -> None:
    """That a manifest is whole and of this data set; raises ValueError or KeyError."""
    if manifest["name"] != name:
        raise ValueError(f"its manifest is that of {manifest['name']!r}")
    if manifest["digest"] != digest_of(manifest["sha256"]):
        raise ValueError("its manifest contradicts itself")
    described: list[tuple[str, Any]] = [("source", manifest["source"]["provenance"])]
    described += [(key, manifest[key]) for key in ("counts", "counts_per_class", "skipped")]
    if odd := [key for key, value in described if not isinstance(value, dict)]:
        raise ValueError(f"its manifest has no {odd[0]}")
    if any(split not in manifest[key] for split in SPLITS for key, _ in described[1:]):
        raise ValueError("its manifest lacks a split")
    wanted = {"class_names.json"} | {f"{s}_{part}.npy" for s in SPLITS for part in PARTS}
    if missing := wanted - set(manifest["sha256"]):
        raise ValueError(f"its manifest does not name {min(missing)}")


def _checked(path: Path, checksums: dict[str, str], most: int) -> bytes:
    """A small file's bytes, at most so many, if they are those that the manifest names."""
    if path.stat().st_size > most:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != checksums[path.name]:
        raise ValueError(f"{path.name} is not the file that the manifest names")
    return data


def _open_split(folder: Path, split: str, manifest: dict[str, Any], n_classes: int) -> Split:
    checksums = manifest["sha256"]
    chunks = manifest.get("chunks", {})
    if chunks and chunks["rows"] != CHUNK_ROWS:
        chunks = {}
    name = f"{split}_images.npy"
    images = StoredImages(folder / name, Digests(checksums[name], tuple(chunks.get(split, ()))))
    most = 8 * len(images) + 10_000
    labels, sizes = (
        np.load(BytesIO(_checked(folder / f"{split}_{part}.npy", checksums, most)))
        for part in ("labels", "sizes")
    )
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise ValueError(f"{split}_labels.npy holds {labels.dtype} {labels.shape}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(f"{split}_labels.npy has labels beyond the {n_classes} classes")
    if sizes.dtype != np.int32 or sizes.shape != (len(labels), 2) or (sizes < 1).any():
        raise ValueError(f"{split}_sizes.npy holds {sizes.dtype} {sizes.shape}")
    if not len(images) == len(labels) == manifest["counts"][split]:
        raise ValueError(f"{len(images)} {split} images but {len(labels)} labels")
    return Split(images, labels, sizes)
