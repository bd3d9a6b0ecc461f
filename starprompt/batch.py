"""Several seeds of one method in one process: Python starts and imports torch once for all.

Each run is what it would be alone: it is seeded anew, builds its own networks and leaves its own
files. One that fails does not keep the others from running, but the job fails in the end; whoever
started the job may then remove all that it left (Snakemake does). So each finished run's files
have a second name in ``.finished`` beside them until all are done, and no seed is trained twice.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from starprompt.config import Config, Run
from starprompt.continual.devices import release_memory
from starprompt.continual.record import RunRecord
from starprompt.errors import TerminatedError, UserError
from starprompt.experiment import run
from starprompt.grid import RUN_FILES

logger = logging.getLogger(__name__)

ASIDE = ".finished"


def run_all(config: Config, cells: Sequence[Run]) -> Iterator[tuple[Run, RunRecord]]:
    """Train and test the runs one after the other; yield each with its record when it is done.

    Raises what went wrong when all others are finished: of several mistakes :class:`UserError`
    with all their sentences, of bugs the first (each is logged with its traceback). At once raises
    :class:`TerminatedError`, on SIGTERM.
    """
    failures: dict[Run, Exception] = {}
    for cell in cells:
        folder = config.run_folder(cell)
        take_up(folder)
        try:
            record = run(config, cell)
        except TerminatedError:
            raise  # the job is to end, not this run alone
        except Exception as error:
            if len(cells) == 1:
                raise
            told = None if isinstance(error, UserError) else error
            logger.error("seed %d failed: %s", cell.seed, error, exc_info=told)
            failures[cell] = error
        else:
            if len(cells) > 1:
                set_aside(folder)
            yield cell, record
        release_memory()
    if bugs := [error for error in failures.values() if not isinstance(error, UserError)]:
        raise bugs[0]
    if failures:
        said = " ".join(f"Seed {cell.seed}: {error}" for cell, error in failures.items())
        raise UserError(f"{len(failures)} of {len(cells)} seeds failed. {said}")
    for cell in cells:
        shutil.rmtree(config.run_folder(cell) / ASIDE, ignore_errors=True)


def set_aside(folder: Path) -> None:
    """Give a finished run's files second names, which cost no room, under ``.finished``."""
    aside = folder / ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for name in RUN_FILES:
        try:
            os.link(folder / name, aside / name)
        except OSError:  # a file system without links
            shutil.copyfile(folder / name, aside / name)


def take_up(folder: Path) -> None:
    """Bring back what was set aside where it is missing; the runner judges whether it still holds.

    The record comes last, because it says that all is there.
    """
    if not all((folder / ASIDE / name).is_file() for name in RUN_FILES):
        return
    for name in RUN_FILES:
        if not (folder / name).exists():
            with suppress(FileNotFoundError):
                (folder / ASIDE / name).replace(folder / name)
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
