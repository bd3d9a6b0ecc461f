"""Sources that hold pixels, not image files: pickles, tensors, .npz, and CIFAR's batches."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from starprompt.data.formats import (
    ArrayImages,
    Listing,
    RawSplit,
    class_numbers,
    numbered_names,
)
from starprompt.data.formats.listed import load_table
from starprompt.data.safe_pickle import load_npz, load_pickle
from starprompt.data.sources import (
    Cifar100,
    NumpyArchives,
    PickledArrays,
    TorchTensors,
    stays_below,
)
from starprompt.data.store import SPLITS
from starprompt.errors import UserError, reason
from starprompt.files import reading

PARTS = ("images", "labels")
ArrayFormat = PickledArrays | TorchTensors | NumpyArchives | Cifar100


def read(form: ArrayFormat, files: Path, work: Path) -> Listing:
    """List the arrays of either split; class names where the source has them.

    Raises :class:`UserError` when a file is damaged, refused as unsafe, or not what it should be.
    """
    names: tuple[str, ...] | None = None
    if isinstance(form, PickledArrays):
        splits = [_pickled(files, split) for split in SPLITS]
    elif isinstance(form, NumpyArchives):
        splits = [_npz(stays_below(files, files / f"{split}_data.npz")) for split in SPLITS]
    elif isinstance(form, TorchTensors):
        splits = [_tensors(files, split) for split in SPLITS]
        names = _class_names(files / "class_names.json")
    else:
        splits, names = _cifar100(files, work)
    train, test = splits
    return Listing(train, test, names or numbered_names(train.labels, test.labels))


def _split(images: Any, labels: Any, path: Path) -> RawSplit:
    """Check what a file held: a stack or row of images, pixels or encoded bytes, and labels.

    An image is never a path: a file of strangers must not name files of ours.
    """
    if isinstance(images, np.ndarray) and images.dtype == object:
        images = list(images)
    is_stack = isinstance(images, np.ndarray) and images.ndim in (3, 4)
    is_row = isinstance(images, list) and all(_is_image(image) for image in images)
    if not (is_stack or is_row):
        raise UserError(f"{path} holds no images as arrays; remove it and download it again.")
    return RawSplit(ArrayImages(images, path.name), class_numbers(labels, f"beside {path}"))


def _is_image(value: Any) -> bool:
    return isinstance(value, bytes) or (
        isinstance(value, np.ndarray) and value.dtype != object and value.ndim in (2, 3)
    )


def _pickled(files: Path, split: str) -> RawSplit:
    path = files / f"{split}_images.pkl"
    labels = files / f"{split}_labels.pkl"
    return _split(
        load_pickle(stays_below(files, path)), load_pickle(stays_below(files, labels)), path
    )


def _npz(path: Path) -> RawSplit:
    arrays = load_npz(path, ("data", "targets"))
    return _split(arrays["data"], arrays["targets"], path)


def _tensors(files: Path, split: str) -> RawSplit:
    import torch

    path, of_labels = (stays_below(files, files / f"{split}_{part}.pt") for part in PARTS)
    tensors = []
    for file in (path, of_labels):
        try:
            with reading(file):
                mapped = zipfile.is_zipfile(file)  # files older than that form cannot be mapped
                value = torch.load(file, weights_only=True, mmap=mapped, map_location="cpu")
        except UserError:
            raise
        except Exception as error:  # a damaged archive can end in any exception
            what = reason(error)
            raise UserError(f"{file} is damaged or unsafe ({what}); download it again.") from error
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{file} does not hold a tensor; download it again.")
        tensors.append(value)
    images, labels = tensors
    if images.ndim != 4 or images.shape[1] != 3:
        raise UserError(
            f"{path} has the shape {tuple(images.shape)}, not (N, 3, H, W); download it again."
        )
    try:
        arrays = images.permute(0, 2, 3, 1).numpy(), labels.numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantised, on no device, of bfloat16
        raise UserError(f"{path} is not a numeric array ({error}); download it again.") from error
    return _split(*arrays, path)


def _class_names(path: Path) -> tuple[str, ...]:
    """Names from ``{"0": name, ...}`` or a list."""
    value = load_table(path)
    if isinstance(value, dict):
        if set(value) != {str(number) for number in range(len(value))}:
            raise UserError(f"{path} does not number its class names from 0; download it again.")
        value = [value[str(number)] for number in range(len(value))]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{path} does not hold a list of names; download it again.")
    return tuple(value)


def _cifar100(files: Path, work: Path) -> tuple[list[RawSplit], tuple[str, ...]]:
    """Let torchvision check, unpack and read its archive, outside the published files' folder."""
    from torchvision.datasets import CIFAR100

    work.mkdir(parents=True, exist_ok=True)
    archive = stays_below(files, files / CIFAR100.filename)
    with reading(archive):
        archive.open("rb").close()
    link = work / CIFAR100.filename
    link.unlink(missing_ok=True)
    link.symlink_to(archive.resolve())
    try:
        parts = [CIFAR100(work, train=train, download=True) for train in (True, False)]
    except Exception as error:  # a damaged archive can end in any exception
        if isinstance(error, OSError) and error.errno is not None:
            # Of the disk. Where it names no file, reading the archive failed, or a full disk.
            error.filename = error.filename or str(archive)
            raise
        raise UserError(
            f"{archive} is damaged ({error}); remove it and download it again."
        ) from error
    splits = [
        RawSplit(
            ArrayImages(part.data, f"cifar100 {split}"), class_numbers(part.targets, "of CIFAR-100")
        )
        for part, split in zip(parts, SPLITS, strict=True)
    ]
    return splits, tuple(name.replace("_", " ") for name in parts[0].classes)
