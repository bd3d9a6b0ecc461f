"""Images split by one JSON file of [path, label, class name] (the few-shot literature's form)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starprompt.data.archives import extract
from starprompt.data.formats import FileImages, Listing, RawSplit, class_numbers
from starprompt.data.formats.listed import FileIndex, load_table
from starprompt.data.formats.parquet import ParquetBlob
from starprompt.data.sources import SplitJson, stays_below
from starprompt.errors import UserError


def read(form: SplitJson, files: Path, work: Path) -> Listing:
    """Find the images of the JSON's train and test parts in an archive or in parquet files.

    Class names are those that the JSON gives each label. Raises :class:`UserError` when an image
    is missing.
    """
    table = load_table(stays_below(files, files / form.split))
    parts = {name: _entries(table, name, files / form.split) for name in ("train", "test")}
    names: dict[int, str] = {}
    for entries in parts.values():
        for _, label, name in entries:
            if names.setdefault(label, name) != name:
                raise UserError(
                    f"{files / form.split} names label {label} both {names[label]!r} and "
                    f"{name!r}; download it again."
                )
    splits = []
    if form.images.endswith(".parquet"):
        blob = ParquetBlob.gather(files, form.images, "image", None, work)
        for entries in parts.values():
            images = blob.select([Path(path).name for path, _, _ in entries], files / form.split)
            splits.append(RawSplit(images, _labels(entries, files / form.split)))
    else:
        archive = stays_below(files, files / form.images)
        index = FileIndex(extract(archive, work / "images"))
        for entries in parts.values():
            paths = tuple(index.find(path, files / form.split) for path, _, _ in entries)
            splits.append(RawSplit(FileImages(paths), _labels(entries, files / form.split)))
    total = sum(len(entries) for entries in table.values() if isinstance(entries, list))
    class_names = tuple(names[label] for label in sorted(names))
    return Listing(splits[0], splits[1], class_names, provenance={"listed": total})


def _entries(table: Any, part: str, path: Path) -> list[tuple[str, int, str]]:
    entries = table.get(part) if isinstance(table, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, list) and len(e) == 3 and isinstance(e[0], str) and isinstance(e[2], str)
        for e in entries
    ):
        raise UserError(
            f"{path} has no part {part!r} of [path, label, class name]; download it again."
        )
    class_numbers([label for _, label, _ in entries], f"in {path}")
    return [(p, label, name) for p, label, name in entries]


def _labels(entries: list[tuple[str, int, str]], path: Path) -> NDArray[np.int64]:
    return class_numbers([label for _, label, _ in entries], f"in {path}")
