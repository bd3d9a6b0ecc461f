"""Hard-link backups of finished runs, so that deleted outputs need no retraining.

Snakemake deletes a job's outputs before the job starts, and all outputs of a failed job. So it
deletes a finished run when the job fails under another seed, or when a killed Snakemake does not
see the job end. The backups stand in ``.finished`` inside the run's folder and take no disk space.
They last until the workflow has seen the finished run.
"""

import os
import shutil
from pathlib import Path

from starprompt.config.experiment import RESULTS
from starprompt.files import atomic_path
from starprompt.record.run_files import RECORD, RUN_FILES, has_all_files

BACKUP = ".finished"


def back_up(folder: Path) -> None:
    """Back up a finished run's files."""
    backup = folder / BACKUP
    backup.mkdir(exist_ok=True)
    (backup / RECORD).unlink(missing_ok=True)  # an older run's, which its other files no longer are
    for name in RUN_FILES:
        _link(folder / name, backup / name)


def restore(folder: Path) -> None:
    """Restore a deleted run from its backup. The runner decides whether the run is still valid.

    The record comes last, because it says that the other files are complete.
    """
    backup, record = folder / BACKUP, folder / RECORD
    if not has_all_files(backup):
        return
    if record.is_file() and record.read_bytes() != (backup / RECORD).read_bytes():
        return  # of a newer run
    for name in RUN_FILES:
        _link(backup / name, folder / name)


def remove_backups(experiment: str) -> None:
    """Remove the backups of an experiment's finished runs.

    From then on, a run whose files are deleted is trained again.
    """
    for backup in (RESULTS / "runs" / experiment).glob(f"*/*/seed*/{BACKUP}"):
        if has_all_files(backup.parent):
            shutil.rmtree(backup, ignore_errors=True)


def _link(file: Path, copy: Path) -> None:
    """Make ``copy`` a hard link to ``file``; replace what had that name."""
    with atomic_path(copy) as part:
        try:
            os.link(file, part)
        except OSError:  # a file system without links
            shutil.copyfile(file, part)
