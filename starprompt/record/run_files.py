"""The files that a run leaves, their folder, and whether all of them are there.

A run's folder is ``results/runs/<config>/<dataset>/<method>/seed<seed>/``.
"""

import re
from pathlib import Path

PREDICTIONS = "predictions.parquet"
SELECTION = "selection.parquet"
DIAGNOSTICS = "diagnostics.safetensors"
CHECKPOINT = "checkpoint.safetensors"
RECORD = "record.json"
#: in an unfinished run's folder ``work``: where in its task it is, written now and then
PROGRESS = "progress.json"
#: All files of a finished run. The record is last, because it says that the others are complete.
RUN_FILES = (PREDICTIONS, SELECTION, DIAGNOSTICS, CHECKPOINT, RECORD)
#: What is left out of an archive of records unless it is asked for: large, and read by no table.
LARGE_FILES = (DIAGNOSTICS, CHECKPOINT)

#: data set, method, seed
RunKey = tuple[str, str, int]


def run_folder(runs: Path, dataset: str, method: str, seed: object) -> Path:
    """The folder of one run.

    runs  the experiment's folder, ``results/runs/<config>``
    seed  a number, or a Snakemake wildcard in braces
    """
    return runs / dataset / method / f"seed{seed}"


def named_run(folder: Path) -> RunKey | None:
    """Data set, method and seed that a run's folder is named after; None for another folder."""
    parts = Path(folder).absolute().parts
    seed = re.fullmatch(r"seed(\d+)", parts[-1])
    if seed is None or len(parts) < 5:
        return None
    return parts[-3], parts[-2], int(seed[1])


def has_all_files(folder: Path) -> bool:
    """Whether every file of a run stands in ``folder``."""
    return all((folder / name).is_file() for name in RUN_FILES)
