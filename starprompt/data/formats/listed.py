"""Images in an archive, split by published lists."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from starprompt.data.archives import extract
from starprompt.data.formats import FileImages, Listing, RawSplit, numbered_names
from starprompt.data.sources import ListedImages
from starprompt.errors import UserError


def read(form: ListedImages, files: Path, work: Path) -> Listing:
    """Unpack the archive and find the listed images in it, in the lists' order.

    Raises :class:`UserError` when a list is unreadable or an image is not in the archive.
    """
    folder = extract(files / form.archive, work / "images")
    index = FileIndex(folder)
    splits = []
    for name in (form.train, form.test):
        paths, labels = read_list(files / name)
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
            f"{path} is no list of images: expected `data` and `targets` of equal length; "
            "fetch it again."
        )
    return [str(p) for p in paths], np.asarray(labels, dtype=np.int64)


def load_table(path: Path) -> Any:
    """A YAML or JSON file. Raises :class:`UserError` when it is neither."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        # A list of 24,000 paths: the C parser takes a second where the Python one takes ten.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.load(text, Loader=loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({what}); remove it and fetch it again.") from error


class FileIndex:
    """Finds listed paths in an unpacked archive, whatever leading folders either of them has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[tuple[str, ...]]] = {}
        for path in folder.rglob("*"):
            if path.is_file():
                parts = path.relative_to(folder).parts
                self._by_name.setdefault(path.name, []).append(parts)

    def find(self, listed: str, source: Path) -> Path:
        """The file of that path, or the only one whose path shares its longest ending.

        Raises :class:`UserError` when there is none, or two are as good.
        """
        parts = tuple(part for part in listed.split("/") if part not in ("", "."))
        exact = self.folder.joinpath(*parts)
        if ".." not in parts and exact.is_file():
            return exact
        candidates = self._by_name.get(parts[-1] if parts else "", [])
        scores = [_shared_ending(parts, candidate) for candidate in candidates]
        best = max(scores, default=0)
        needed = min(2, len(parts))
        if best < needed or scores.count(best) > 1:
            raise UserError(
                f"{source} lists {listed!r}, which the archive does not hold; the two do not "
                "belong together, fetch both again."
            )
        return self.folder.joinpath(*candidates[scores.index(best)])


def _shared_ending(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count
