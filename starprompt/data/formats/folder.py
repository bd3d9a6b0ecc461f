"""A user's own folder of images, one folder per class."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from starprompt.data.formats import FileImages, Listing, RawSplit, stratified_split
from starprompt.data.registry import refuse_equal_names
from starprompt.data.sources import ImageFolder, stays_below
from starprompt.errors import UserError
from starprompt.files import digest_of, one_line

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
#: images in formats that are not read; they are counted and named
UNREAD = {
    *(".jfif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg", ".psd", ".tga", ".ico", ".eps"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".exr", ".hdr", ".npy", ".jpe", ".pnm"),
}
#: what systems and programs leave beside images, without hidden names
LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "ehthumbs.db"}
#: what a split's folder may be called, in any case
SPLIT_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}
#: folders above the classes that are looked through
MOST_WRAPPERS = 3
#: largest file of class names, in bytes
MOST_NAMES_FILE = 64_000_000
#: names that a list in the manifest has at most
MOST_NAMED = 50


@dataclass
class Ignored:
    """What lies in the folder and was not taken, by reason: how many, and the first names."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one more, and keep its name while there are few."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        kept = self.names.setdefault(reason, [])
        if len(kept) < MOST_NAMED:
            kept.append(name)

    def as_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            reason: {"count": count, "names": self.names[reason]}
            for reason, count in sorted(self.counts.items())
        }


@dataclass(frozen=True)
class Layout:
    """Where the classes' folders are: under a train and a test folder, or in one folder.

    train  folder of the training classes, or of all
    test   folder of the test classes; None where a share of each class is to be tested on
    """

    train: Path
    test: Path | None
    notes: tuple[str, ...]


def read(form: ImageFolder, root: Path, work: Path) -> Listing:
    """List ``train/CLASS`` and ``test/CLASS``, or split the images of ``CLASS``.

    Classes are numbered in the sorted order of their folders. Raises :class:`UserError` when the
    folder or its parts are missing, disagree, or cannot be distinguished.
    """
    folder = root / form.folder
    if not folder.is_dir():
        raise UserError(
            f"There is no folder of images at {folder}; correct `folder` in the data set's YAML "
            "(it is relative to the data root unless it begins with /)."
        )
    ignored = Ignored()
    layout = find_layout(folder, form.test_share is not None, ignored)
    classes = _classes(layout.train, ignored)
    if layout.test is not None:
        if extra := sorted(set(_classes(layout.test, ignored)) - set(classes)):
            raise UserError(
                f"{layout.test} has classes that {layout.train} lacks: {', '.join(extra)}; "
                "add training images or remove them."
            )
        splits = _list(layout.train, classes, ignored), _list(layout.test, classes, ignored)
    else:
        assert form.test_share is not None
        whole = _list(layout.train, classes, ignored)
        rows = stratified_split(whole.labels, form.test_share, form.split_seed)
        splits = whole.take(rows[0]), whole.take(rows[1])
    names, more = _names(form, folder, layout.train, classes)
    provenance: dict[str, Any] = {"state": folder_state(form, root), "ignored": ignored.as_json()}
    if notes := [*layout.notes, *more]:
        provenance["notes"] = notes
    return Listing(*splits, class_names=names, provenance=provenance)


def folder_state(form: ImageFolder, root: Path) -> str:
    """Digest of names, sizes and times of all images and of the names' file: has any changed?"""
    folder = root / form.folder
    state: list[Any] = []
    for name in _walk(folder, Ignored()):
        status = (folder / name).stat()
        state.append((name, status.st_size, status.st_mtime_ns))
    if form.class_names is not None and (folder / form.class_names).is_file():
        status = (folder / form.class_names).stat()
        state.append((form.class_names, status.st_size, status.st_mtime_ns))
    return digest_of(state)


def find_layout(folder: Path, may_share: bool, ignored: Ignored) -> Layout:
    """Find the folders that hold one folder per class.

    may_share  a share of each class may be tested on, where there is no folder of test images

    Raises :class:`UserError` when folders of splits and others stand side by side, or a split is
    missing.
    """
    folder, notes = _below_wrappers(folder, ())
    at_top = Ignored()
    subfolders = _subfolders(folder, at_top)
    found: dict[str, list[str]] = {}
    for name in subfolders:
        for split, words in SPLIT_NAMES.items():
            if name.lower() in words:
                found.setdefault(split, []).append(name)
    if twice := [names for names in found.values() if len(names) > 1]:
        raise UserError(f"{folder} has both {' and '.join(map(repr, twice[0]))}; keep one of them.")
    of_split = {split: names[0] for split, names in found.items()}
    others = sorted(set(subfolders) - set(of_split.values()))
    if of_split and others:
        raise UserError(
            f"{folder} mixes the split {', '.join(sorted(of_split.values()))} with other "
            f"folders, {_some(others)}; keep either splits or classes there and move the rest "
            "elsewhere."
        )
    if not of_split:
        if not may_share:
            raise UserError(
                f"{folder} has no train and test folders; make them, or give a `test_share` in the "
                "data set's YAML."
            )
        return Layout(folder, None, notes)
    if "train" not in of_split or len(of_split) == 1:
        raise UserError(
            f"{folder} has only the split {', '.join(sorted(of_split.values()))}; put the "
            "folders of the training images into train and those of the test images into "
            "test."
        )
    # Without splits, the top is the classes' folder, whose contents are counted by _classes.
    for reason, names in at_top.names.items():
        for name in names:
            ignored.add(reason, name)
    test = of_split.get("test", of_split.get("validation", ""))
    if "test" not in of_split:
        notes += (f"{test} is the test split",)
    elif "validation" in of_split:
        unused = folder / of_split["validation"]
        count = len(list(_walk(unused, Ignored())))
        notes += (f"{of_split['validation']} is not used ({count} images)",)
    train_folder, notes = _below_wrappers(folder / of_split["train"], notes)
    test_folder, notes = _below_wrappers(folder / test, notes)
    return Layout(train_folder, test_folder, notes)


def _below_wrappers(folder: Path, notes: tuple[str, ...]) -> tuple[Path, tuple[str, ...]]:
    """The folder itself, or the one within it that alone holds further folders and no image."""
    for _ in range(MOST_WRAPPERS):
        inner = _subfolders(folder, Ignored())
        if len(inner) != 1 or _has_images(folder) or _has_images(folder / inner[0]):
            return folder, notes
        if not _subfolders(folder / inner[0], Ignored()):
            return folder, notes
        folder = folder / inner[0]
        notes += (f"the classes are taken from {folder}",)
    return folder, notes


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _subfolders(folder: Path, ignored: Ignored) -> list[str]:
    """Names of the folders directly in ``folder``, sorted; what hides is counted as ignored."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if _is_litter(entry.name):
            ignored.add("hidden or left by a program", entry.name)
        elif entry.is_dir():
            found.append(entry.name)
    return found


def _has_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(
            _suffix(entry.name) in SUFFIXES and not _is_litter(entry.name) for entry in entries
        )


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path per file costs a tenth)


def _walk(folder: Path, ignored: Ignored) -> Iterator[str]:
    """Names of all images below a folder, relative to it, with /, in the order of their parts.

    Strings and one walk: a Path for every file of a large folder costs a tenth of its decoding.
    """
    names = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                name = below + entry.name
                suffix = _suffix(entry.name)
                if _is_litter(entry.name):
                    ignored.add("hidden or left by a program", name)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif suffix in UNREAD:
                    ignored.add("images in formats that are not read", name)
                elif suffix not in SUFFIXES:
                    ignored.add("no images", name)
                elif not entry.is_file():
                    ignored.add("no regular files", name)
                else:
                    names.append(name)
    yield from sorted(names, key=lambda name: name.split("/"))


def _classes(folder: Path, ignored: Ignored) -> list[str]:
    """The classes' folders, sorted; images beside them belong to no class."""
    found = _subfolders(folder, ignored)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if _is_litter(entry.name) or entry.is_dir():
            continue
        if _suffix(entry.name) in SUFFIXES | UNREAD:
            ignored.add("images outside of the classes' folders", entry.name)
    if not found:
        raise UserError(
            f"{folder} has no class folders; put each class's images into a folder of its own."
        )
    for name in found:
        try:
            one_line(name)
        except ValueError as error:
            raise UserError(
                f"The folder {name!r} in {folder} cannot name a class: {error}; rename it."
            ) from error
    return found


def _list(folder: Path, classes: list[str], ignored: Ignored) -> RawSplit:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        place = folder / name
        found = [place / image for image in _walk(place, ignored)] if place.is_dir() else []
        paths += found
        labels += [label] * len(found)
    return RawSplit(FileImages(tuple(paths)), np.asarray(labels, dtype=np.int64))


def _names(
    form: ImageFolder, folder: Path, where: Path, classes: list[str]
) -> tuple[tuple[str, ...], list[str]]:
    """The classes' names and what is to be noted of them."""
    from_folders = [name.replace("_", " ") for name in classes]
    if form.class_names is None:
        _refuse_doubles(where, classes, "rename one folder, or put their images together")
        return tuple(from_folders), []
    path = folder / form.class_names
    if not path.is_file():
        raise UserError(f"There is no file of class names at {path}; correct `class_names`.")
    lines = _text(stays_below(folder, path)).splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != len(classes):
        raise UserError(
            f"{path} has {len(names)} names for {len(classes)} class folders; give one name per "
            "folder."
        )
    for name in names:
        try:
            one_line(name)
        except ValueError as error:
            raise UserError(f"{path}: {name!r} cannot name a class: {error}; change it.") from error
    _refuse_doubles(path, names, "give each class a name of its own")
    places = {name.casefold(): i for i, name in enumerate(from_folders)}
    moved = [
        f"{name!r} names the folder {classes[i]!r}"
        for i, name in enumerate(names)
        if places.get(name.replace("_", " ").casefold(), i) != i
    ]
    if moved:
        moved = [
            f"{path.name} is in another order than the sorted folders ({_some(moved)}); the lines "
            "name the folders in sorted order"
        ]
    return tuple(names), moved


def _refuse_doubles(where: Path, names: list[str], remedy: str) -> None:
    try:
        refuse_equal_names(names)
    except ValueError as error:
        raise UserError(f"{where}: {error}; {remedy}.") from error


def _text(path: Path) -> str:
    """A text file in UTF-8 or UTF-16 (with its mark), else in the encoding of old Windows."""
    if path.stat().st_size > MOST_NAMES_FILE:
        raise UserError(f"{path} is too large for a file of names; correct `class_names`.")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _some(names: list[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
