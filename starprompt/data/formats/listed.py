"""Images in an archive, split by published lists."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starprompt.data.archives import extract
from starprompt.data.formats import FileImages, Listing, RawSplit, class_numbers, numbered_names
from starprompt.data.sources import ListedImages, stays_below
from starprompt.errors import UserError, reason
from starprompt.files import files_below, parse_yaml, read_text

#: largest list of images, in bytes: one of a million images has some 60 million
MOST_TABLE = 256_000_000


def read(form: ListedImages, files: Path, work: Path) -> Listing:
    """Unpack the archive and find the listed images in it, in the lists' order.

    Raises :class:`UserError` when a list is unreadable or an image is not in the archive.
    """
    folder = extract(stays_below(files, files / form.archive), work / "images")
    index = FileIndex(folder)
    splits = []
    for name in (form.train, form.test):
        paths, labels = read_list(stays_below(files, files / name))
        found = tuple(index.find(p.removeprefix(form.paths_below), files / name) for p in paths)
        splits.append(RawSplit(FileImages(found), labels))
    train, test = splits
    return Listing(train, test, numbered_names(train.labels, test.labels))


def read_list(path: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Paths and labels of a list file: YAML or JSON with ``data`` and ``targets`` or ``labels``."""
    value = load_table(path)
    labels = value.get("targets", value.get("labels")) if isinstance(value, dict) else None
    paths = value.get("data") if isinstance(value, dict) else None
    if not isinstance(paths, list) or not isinstance(labels, list) or len(paths) != len(labels):
        raise UserError(
            f"{path} is not a list of images: it needs `data` and `targets` of equal length; "
            "download it again."
        )
    if odd := [p for p in paths if not isinstance(p, str)]:
        raise UserError(f"{path} lists {repr(odd[0])[:100]}, which is not a path; correct it.")
    return paths, class_numbers(labels, f"in {path}")


def load_table(path: Path) -> Any:
    """A YAML or JSON file of at most :data:`MOST_TABLE` bytes.

    Raises :class:`UserError` when it is missing, neither, or has a key twice.
    """
    text = read_text(path, MOST_TABLE)
    if path.suffix != ".json":
        return parse_yaml(text, path, MOST_TABLE)
    try:
        return json.loads(text, object_pairs_hook=_each_key_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        what = reason(error)
        raise UserError(
            f"{path} cannot be read ({what}); remove it and download it again."
        ) from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} occurs twice")
    return table


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


class FileIndex:
    """Finds listed paths in an unpacked archive, whatever leading folders either of them has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[tuple[str, ...]]] = {}
        self._all: set[tuple[str, ...]] = set()
        for path in files_below(folder):
            if path.is_file():
                parts = path.relative_to(folder).parts
                self._by_name.setdefault(path.name, []).append(parts)
                self._all.add(parts)

    def find(self, listed: str, source: Path) -> Path:
        """The file of that path, or the only one whose path shares its longest ending.

        Raises :class:`UserError` when there is none, or two are as good.
        """
        parts = tuple(part for part in listed.split("/") if part not in ("", "."))
        if ".." not in parts and parts in self._all:
            return self.folder.joinpath(*parts)
        candidates = self._by_name.get(parts[-1] if parts else "", [])
        scores = [_shared_ending(parts, candidate) for candidate in candidates]
        best = max(scores, default=0)
        needed = min(2, max(1, len(parts)))
        if best < needed or scores.count(best) > 1:
            raise UserError(
                f"{source} lists {listed[:200]!r}, which the archive does not hold; the two do not "
                "belong together, download both again."
            )
        return self.folder.joinpath(*candidates[scores.index(best)])


def _shared_ending(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
