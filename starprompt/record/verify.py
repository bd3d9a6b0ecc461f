"""Whether a finished run's files are whole and give the numbers of its record."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException
from safetensors import SafetensorError, safe_open

from starprompt.errors import UserError
from starprompt.record.metrics import ROUNDING
from starprompt.record.origins import origin_of
from starprompt.record.record import (
    PREDICTION_COLUMNS,
    SELECTION_COLUMNS,
    RunRecord,
    checked_file,
    read_record,
)
from starprompt.record.run_files import LARGE_FILES, PREDICTIONS, RECORD, SELECTION


def verify_run(folder: Path, record: RunRecord, partial: bool = False) -> None:
    """Check a run's files against its record.

    Every file has the digest that the record says. Where an older record says none, the files
    open and have the columns that they should. The accuracy matrix is computed anew from
    ``predictions.parquet``.

    partial  diagnostics and checkpoint may be missing, as in an archive of records

    Raises :class:`UserError` naming the file and the fault.
    """
    large = [name for name in LARGE_FILES if not partial or (folder / name).exists()]
    for name in (SELECTION, *large):
        checked_file(folder / name, record)
    for name in large:
        try:
            with safe_open(folder / name, "np"):
                pass
        except (OSError, SafetensorError) as error:
            raise _damaged(folder / name, str(error)) from error
    _columns(folder / SELECTION, SELECTION_COLUMNS)
    verified_predictions(folder, record)


def verified_predictions(folder: Path, record: RunRecord) -> dict[str, np.ndarray]:
    """The columns of a run's predictions by name, each (N,), once they fit its record.

    Checked are the file's digest, its columns, the number of rows, the range of labels and
    predictions, and the accuracy matrix. Raises :class:`UserError` naming the file and the fault.
    """
    path = checked_file(folder / PREDICTIONS, record)
    found = _columns(path, PREDICTION_COLUMNS, _evaluated(record))
    _compare(path, found, record)
    return found


def verify_all(folders: Sequence[Path]) -> dict[Path, str]:
    """Why each run that does not fit its record is refused, by its folder; empty if all are good.

    Runs that came in an archive may lack diagnostics and checkpoint.
    """
    bad = {}
    for folder in folders:
        try:
            partial = bool(origin_of(folder))
            verify_run(folder, read_record(folder / RECORD), partial)
        except UserError as error:
            bad[folder] = str(error)
    return bad


def _evaluated(record: RunRecord) -> int:
    """How many predictions the record's accuracy matrix is made of."""
    counts = record.stream.test_counts
    return sum(
        counts[i] for row in record.accuracy for i, stored in enumerate(row) if stored is not None
    )


def _columns(path: Path, columns: dict[str, str], most: int | None = None) -> dict[str, np.ndarray]:
    """Columns by name. ``most`` bounds the rows before any is read: a small file may hold many."""
    try:
        file = pq.ParquetFile(path)
        if most is not None and file.metadata.num_rows > most:
            raise _damaged(path, "it has rows of tasks that the record does not have")
        table = file.read(columns=list(columns))
        for name, kind in columns.items():
            _require_kind(path, name, table[name], kind)
        return {name: table[name].to_numpy() for name in columns}
    except (OSError, ArrowException, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _require_kind(path: Path, name: str, column: pa.ChunkedArray, kind: str) -> None:
    """Whole numbers where the record's schema has some, numbers elsewhere; a value in each row."""
    whole = pa.types.is_integer(pa.type_for_alias(kind))
    if not (pa.types.is_integer if whole else pa.types.is_floating)(column.type):
        raise _damaged(path, f"its column {name} is of type {column.type}, not {kind}")
    if column.null_count:
        raise _damaged(path, f"its column {name} has {column.null_count} rows without a value")


def _compare(path: Path, found: dict[str, np.ndarray], record: RunRecord) -> None:
    """The accuracy of each pair of trained task and task seen, and how many images that is of."""
    right = found["prediction"] == found["label"]
    for t, row in enumerate(record.accuracy):
        evaluated = found["after_task"] == t
        for i, stored in enumerate(row):
            here = evaluated & (found["task"] == i)
            count = int(here.sum())
            if count != (0 if stored is None else record.stream.test_counts[i]):
                raise _damaged(path, f"after task {t} it has {count} images of task {i}")
            if stored is not None:
                again = 100 * float(right[here].mean())
                if abs(again - stored) > ROUNDING * 100:
                    raise _damaged(
                        path,
                        f"after task {t} it gives {again:.4f}% on task {i}, not {stored:.4f}%",
                    )
    if len(right) != _evaluated(record):
        raise _damaged(path, "it has rows of tasks that the record does not have")
    classes = len(record.stream.class_names)
    for name in ("label", "prediction"):
        if len(found[name]) and not (found[name].min() >= 0 and found[name].max() < classes):
            raise _damaged(path, f"its column {name} leaves the {classes} classes")
    if (np.asarray(record.stream.task_of_class)[found["label"]] != found["task"]).any():
        raise _damaged(path, "it has labels of another task than the record's stream")


def _damaged(path: Path, why: str) -> UserError:
    short = " ".join(why.split())[:300]
    return UserError(
        f"{path} contradicts its record ({short}); remove the run's folder and run it again."
    )
