"""Whether a finished run's files are whole and give the numbers of its record."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyarrow import ArrowException
from safetensors import SafetensorError, safe_open

from starprompt.errors import UserError
from starprompt.record.metrics import ROUNDING
from starprompt.record.record import (
    PREDICTION_COLUMNS,
    SELECTION_COLUMNS,
    RunRecord,
    checked_file,
)
from starprompt.record.run_files import CHECKPOINT, DIAGNOSTICS, PREDICTIONS, SELECTION


def verify_run(folder: Path, record: RunRecord) -> None:
    """Check a run's files against its record.

    Every file has the digest that the record says. Where an older record says none, the files
    open and have the columns that they should. The accuracy matrix is computed anew from
    ``predictions.parquet``.

    Raises :class:`UserError` naming the file and the fault.
    """
    for name in (PREDICTIONS, SELECTION, DIAGNOSTICS, CHECKPOINT):
        checked_file(folder / name, record)
    for name in (DIAGNOSTICS, CHECKPOINT):
        try:
            with safe_open(folder / name, "np"):
                pass
        except (OSError, SafetensorError) as error:
            raise _damaged(folder / name, str(error)) from error
    _columns(folder / SELECTION, SELECTION_COLUMNS)
    found = _columns(folder / PREDICTIONS, PREDICTION_COLUMNS)
    _compare(folder / PREDICTIONS, found, record)


def _columns(path: Path, columns: dict[str, str]) -> dict[str, np.ndarray]:
    try:
        table = pq.ParquetFile(path).read(columns=list(columns))
        return {name: table[name].to_numpy() for name in columns}
    except (OSError, ArrowException, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error


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
    if len(right) != sum(
        record.stream.test_counts[i]
        for row in record.accuracy
        for i, stored in enumerate(row)
        if stored is not None
    ):
        raise _damaged(path, "it has rows of tasks that the record does not have")


def _damaged(path: Path, why: str) -> UserError:
    short = " ".join(why.split())[:300]
    return UserError(f"{path} does not fit its record ({short}); remove the run, run it again.")
