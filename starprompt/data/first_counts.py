"""How many images a data set had when it was first prepared: later preparations are compared.

One file for all data sets of a data root, ``prepared/counts.json``: name to counts by split.
"""

from pathlib import Path
from typing import Any

from filelock import FileLock

from starprompt.data.store import SPLITS, prepared_folder
from starprompt.files import read_json, write_json


def first_counts(root: Path, name: str) -> dict[str, int]:
    """Images by split of a data set's first preparation, as far as they are known."""
    counts = _read(_file(root)).get(name)
    if not isinstance(counts, dict):
        return {}
    return {part: counts[part] for part in (*SPLITS, "total") if type(counts.get(part)) is int}


def note_first_counts(root: Path, name: str, counts: dict[str, int]) -> None:
    """Keep the counts of a data set unless earlier ones are kept."""
    file = _file(root)
    with FileLock(file.with_name(".counts.lock")):  # data sets are prepared at the same time
        known = _read(file)
        if name not in known:
            write_json(file, {**known, name: counts})


def _file(root: Path) -> Path:
    return prepared_folder(root, "counts.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        known = read_json(path)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
