"""A user's own folder of images, one folder a class."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from starprompt.data.formats import FileImages, Listing, RawSplit, stratified_split
from starprompt.data.sources import ImageFolder
from starprompt.errors import UserError
from starprompt.files import digest_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def read(form: ImageFolder, root: Path, work: Path) -> Listing:
    """List ``train/CLASS`` and ``test/CLASS``, or split the images of ``CLASS``.

    Classes are numbered in the sorted order of their folders. Raises :class:`UserError` when the
    folder or its parts are missing or disagree.
    """
    folder = root / form.folder
    if not folder.is_dir():
        raise UserError(
            f"There is no folder of images at {folder}; correct `folder` in the data set's YAML "
            "(it is relative to the data root unless it begins with /)."
        )
    train, test = folder / "train", folder / "test"
    if train.is_dir() and test.is_dir():
        classes = _classes(train)
        if extra := sorted(set(_classes(test)) - set(classes)):
            raise UserError(f"{test} has classes that {train} has not: {', '.join(extra)}.")
        splits = _list(train, classes), _list(test, classes)
    else:
        if form.test_share is None:
            raise UserError(
                f"{folder} has no train and test folders; make them, or give a `test_share` in the "
                "data set's YAML."
            )
        classes = _classes(folder)
        whole = _list(folder, classes)
        rows = stratified_split(whole.labels, form.test_share, form.split_seed)
        splits = whole.take(rows[0]), whole.take(rows[1])
    names = _names(form, folder, classes)
    return Listing(*splits, class_names=names, provenance={"state": folder_state(folder)})


def folder_state(folder: Path) -> str:
    """Digest of the names, sizes and times of all images: tells whether any has changed."""
    state: list[Any] = []
    for name in _images(folder):
        status = (folder / name).stat()
        state.append((name, status.st_size, status.st_mtime_ns))
    return digest_of(state)


def _images(folder: Path) -> list[str]:
    """Names of all images below a folder, relative to it, with /, in the order of their parts.

    Strings and one walk: a Path for every file of a large folder costs a tenth of its decoding.
    """
    names = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
                elif "." + entry.name.rpartition(".")[2].lower() in SUFFIXES and entry.is_file():
                    names.append(below + entry.name)
    return sorted(names, key=lambda name: name.split("/"))


def _classes(folder: Path) -> list[str]:
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise UserError(f"{folder} has no class folders; put each class's images in its own.")
    return found


def _list(folder: Path, classes: list[str]) -> RawSplit:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = [folder / name / image for image in _images(folder / name)]
        paths += found
        labels += [label] * len(found)
    return RawSplit(FileImages(tuple(paths)), np.asarray(labels, dtype=np.int64))


def _names(form: ImageFolder, folder: Path, classes: list[str]) -> tuple[str, ...]:
    if form.class_names is None:
        return tuple(name.replace("_", " ") for name in classes)
    path = folder / form.class_names
    if not path.is_file():
        raise UserError(f"There is no file of class names at {path}; correct `class_names`.")
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name]
    if len(names) != len(classes):
        raise UserError(f"{path} has {len(names)} names for {len(classes)} class folders.")
    return tuple(names)
