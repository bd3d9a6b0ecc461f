"""Second names for finished runs, so that nobody trains them again who removes the first.

Snakemake removes what a job is to make before it starts it, and all that a failed job left. A
finished run is in the way of that where its job failed by another seed, or where a killed Snakemake
never saw the job end. So each finished run's files have a second name in ``.finished`` beside
them, which costs no room, until the workflow that asked for them has seen them.
"""

import os
import shutil
from pathlib import Path

from starprompt.config import RESULTS
from starprompt.files import atomic_path
from starprompt.grid import RUN_FILES, has_all_files

ASIDE = ".finished"
RECORD = RUN_FILES[-1]


def set_aside(folder: Path) -> None:
    """Give a finished run's files second names."""
    aside = folder / ASIDE
    aside.mkdir(exist_ok=True)
    (aside / RECORD).unlink(missing_ok=True)  # an older run's, which its other files no longer are
    for name in RUN_FILES:
        _name(folder / name, aside / name)


def take_up(folder: Path) -> None:
    """Bring back what was set aside, if the run is not there; the runner judges if it still holds.

    The record comes last, because it says that all is there.
    """
    aside, record = folder / ASIDE, folder / RECORD
    if not has_all_files(aside):
        return
    if record.is_file() and record.read_bytes() != (aside / RECORD).read_bytes():
        return  # of a newer run
    for name in RUN_FILES:
        _name(aside / name, folder / name)


def let_go(experiment: str) -> None:
    """Remove the second names of an experiment's runs that still have their first.

    From here on a run whose files someone removes is trained again, as it should be.
    """
    for aside in (RESULTS / "runs" / experiment).glob(f"*/*/seed*/{ASIDE}"):
        if has_all_files(aside.parent):
            shutil.rmtree(aside, ignore_errors=True)


def _name(file: Path, second: Path) -> None:
    """Give a file a second name, whatever had that before."""
    with atomic_path(second) as part:
        try:
            os.link(file, part)
        except OSError:  # a file system without links
            shutil.copyfile(file, part)
