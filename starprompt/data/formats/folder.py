"""A user's own folder of images, one folder a class."""

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
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            status = path.stat()
            name = path.relative_to(folder).as_posix()
            state.append((name, status.st_size, status.st_mtime_ns))
    return digest_of(state)


def _classes(folder: Path) -> list[str]:
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise UserError(f"{folder} has no class folders; put each class's images in its own.")
    return found


def _list(folder: Path, classes: list[str]) -> RawSplit:
    paths, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                paths.append(path)
                labels.append(label)
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
