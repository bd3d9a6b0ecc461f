"""How many images a data set had when it was first prepared: later preparations are compared.

One file for all data sets of a data root, ``prepared/counts.json``: name to counts by split.
"""

import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from starprompt.data.store import SPLITS, prepared_folder
from starprompt.errors import UserError, reason
from starprompt.files import MOST_NOTE, read_text, write_json


def first_counts(root: Path, name: str) -> dict[str, int]:
    """Images by split of a data set's first preparation; empty where none are kept.

    Raises :class:`UserError` when the file is there and cannot be read, or is damaged.
    """
    return _of(name, _file(root))


def note_first_counts(root: Path, name: str, counts: dict[str, int]) -> None:
    """Keep a data set's counts unless earlier ones are kept; raises as :func:`first_counts`."""
    file = _file(root)
    with FileLock(file.with_name(".counts.lock")):  # data sets are prepared at the same time
        if not _of(name, file):
            write_json(file, {**_read(file), name: counts})


def _file(root: Path) -> Path:
    return prepared_folder(root, "counts.json")


def _of(name: str, path: Path) -> dict[str, int]:
    known = _read(path)
    if name not in known:
        return {}
    counts = known[name]
    if not isinstance(counts, dict) or not set(SPLITS) <= set(counts):
        raise _damaged(path, f"it has no counts by split of {name}")
    if odd := [n for n in counts.values() if type(n) is not int or n < 0]:
        raise _damaged(path, f"{odd[0]!r} is no number of images")
    return {part: counts[part] for part in (*SPLITS, "total") if part in counts}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists() and not path.is_symlink():
        return {}
    text = read_text(path, MOST_NOTE)
    try:
        known = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, reason(error)) from error
    if not isinstance(known, dict):
        raise _damaged(path, "it holds no mapping of data sets to counts")
    return known


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is damaged ({why}); restore it, or remove it and with it the counts of all first "
        "preparations."
    )
