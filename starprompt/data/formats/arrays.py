"""Sources that hold pixels, not image files: pickles, tensors, .npz, and CIFAR's batches."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starprompt.data.formats import ArrayImages, Listing, RawSplit, numbered_names
from starprompt.data.safe_pickle import load_npz, load_pickle
from starprompt.data.sources import Cifar100, NumpyArchives, PickledArrays, TorchTensors
from starprompt.data.store import SPLITS
from starprompt.errors import UserError

ArrayFormat = PickledArrays | TorchTensors | NumpyArchives | Cifar100


def read(form: ArrayFormat, files: Path, work: Path) -> Listing:
    """List the arrays of either split; class names where the source has them.

    Raises :class:`UserError` when a file is damaged, refused as unsafe, or not what it should be.
    """
    names: tuple[str, ...] | None = None
    if isinstance(form, PickledArrays):
        splits = [_pickled(files, split) for split in SPLITS]
    elif isinstance(form, NumpyArchives):
        splits = [_npz(files / f"{split}_data.npz") for split in SPLITS]
    elif isinstance(form, TorchTensors):
        splits = [_tensors(files, split) for split in SPLITS]
        names = _class_names(files / "class_names.json")
    else:
        splits, names = _cifar100(files, work)
    train, test = splits
    return Listing(train, test, names or numbered_names(train.labels, test.labels))


def _split(images: Any, labels: Any, path: Path) -> RawSplit:
    """Check what a file held: a stack or list of images, and whole numbers."""
    is_stack = isinstance(images, np.ndarray) and images.ndim in (1, 3, 4)
    if not (is_stack or (isinstance(images, list) and all(_is_array(i) for i in images))):
        raise UserError(f"{path} holds no images as arrays; remove it and fetch it again.")
    try:
        numbers = np.asarray(labels).reshape(-1)
        whole = numbers.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise UserError(f"The labels beside {path} are no numbers ({error}).") from error
    if not np.array_equal(whole, numbers) or whole.min(initial=0) < 0:
        raise UserError(f"The labels beside {path} are no class numbers; fetch it again.")
    return RawSplit(ArrayImages(images, path.name), whole)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _pickled(files: Path, split: str) -> RawSplit:
    path = files / f"{split}_images.pkl"
    return _split(load_pickle(path), load_pickle(files / f"{split}_labels.pkl"), path)


def _npz(path: Path) -> RawSplit:
    arrays = load_npz(path, ("data", "targets"))
    return _split(arrays["data"], arrays["targets"], path)


def _tensors(files: Path, split: str) -> RawSplit:
    import torch

    path = files / f"{split}_images.pt"
    tensors = []
    for file in (path, files / f"{split}_labels.pt"):
        try:
            mapped = zipfile.is_zipfile(file)  # files older than that form cannot be mapped
            value = torch.load(file, weights_only=True, mmap=mapped, map_location="cpu")
        except Exception as error:  # a damaged archive can end in any exception
            what = " ".join(str(error).split())[:200]
            raise UserError(f"{file} is damaged or unsafe ({what}); fetch it again.") from error
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{file} holds no tensor; fetch it again.")
        tensors.append(value)
    images, labels = tensors
    if images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"{path} holds {tuple(images.shape)}, not (N, 3, H, W); fetch it again.")
    return _split(images.permute(0, 2, 3, 1).numpy(), labels.numpy(), path)


def _class_names(path: Path) -> tuple[str, ...]:
    """Names from ``{"0": name, ...}`` or a list."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again.") from error
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value, key=int)]
    return tuple(str(name) for name in value)


def _cifar100(files: Path, work: Path) -> tuple[list[RawSplit], tuple[str, ...]]:
    """Let torchvision check, unpack and read its archive, outside the published files' folder."""
    from torchvision.datasets import CIFAR100

    work.mkdir(parents=True, exist_ok=True)
    link = work / CIFAR100.filename
    link.unlink(missing_ok=True)
    link.symlink_to((files / CIFAR100.filename).resolve())
    try:
        parts = [CIFAR100(work, train=train, download=True) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{files / CIFAR100.filename} is damaged ({error}); remove it and fetch it again."
        ) from error
    splits = [
        RawSplit(ArrayImages(part.data, f"cifar100 {split}"), _int64(part.targets))
        for part, split in zip(parts, SPLITS, strict=True)
    ]
    return splits, tuple(name.replace("_", " ") for name in parts[0].classes)


def _int64(values: list[int]) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)
