"""Images split by one JSON file of [path, label, class name] (the few-shot literature's form)."""

from pathlib import Path
from typing import Any

import numpy as np

from starprompt.data.archives import extract
from starprompt.data.formats import FileImages, Listing, RawSplit
from starprompt.data.formats.listed import FileIndex, load_table
from starprompt.data.formats.parquet import ParquetBlob
from starprompt.data.sources import SplitJson
from starprompt.errors import UserError


def read(form: SplitJson, files: Path, work: Path) -> Listing:
    """Find the images of the JSON's train and test parts in an archive or in parquet files.

    Class names are those that the JSON gives each label. Raises :class:`UserError` when an image
    is missing.
    """
    table = load_table(files / form.split)
    parts = {name: _entries(table, name, files / form.split) for name in ("train", "test")}
    names: dict[int, str] = {}
    for entries in parts.values():
        for _, label, name in entries:
            if names.setdefault(int(label), str(name)) != name:
                raise UserError(
                    f"{files / form.split} names label {label} both {names[int(label)]!r} and "
                    f"{name!r}; fetch it again."
                )
    splits = []
    if form.images.endswith(".parquet"):
        blob = ParquetBlob.gather(files, form.images, "image", None, work)
        for entries in parts.values():
            images = blob.select([Path(path).name for path, _, _ in entries], files / form.split)
            splits.append(RawSplit(images, _labels(entries)))
    else:
        index = FileIndex(extract(files / form.images, work / "images"))
        for entries in parts.values():
            paths = tuple(index.find(path, files / form.split) for path, _, _ in entries)
            splits.append(RawSplit(FileImages(paths), _labels(entries)))
    total = sum(len(entries) for entries in table.values() if isinstance(entries, list))
    class_names = tuple(names[label] for label in sorted(names))
    return Listing(splits[0], splits[1], class_names, provenance={"listed": total})


def _entries(table: Any, part: str, path: Path) -> list[tuple[str, int, str]]:
    entries = table.get(part) if isinstance(table, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, list) and len(e) == 3 and isinstance(e[1], int) for e in entries
    ):
        raise UserError(
            f"{path} has no part {part!r} of [path, label, class name]; fetch it again."
        )
    return [(str(p), label, str(name)) for p, label, name in entries]


def _labels(entries: list[tuple[str, int, str]]) -> np.ndarray:
    return np.asarray([label for _, label, _ in entries], dtype=np.int64)
