"""Several seeds of one method in one process: Python starts and imports torch once for all.

Each run is what it would be alone: it is seeded anew, builds its own networks and leaves its own
files. One that fails does not keep the others from running, but the job fails in the end.
"""

import logging
from collections.abc import Iterator, Sequence

from starprompt.config.experiment import Config, Run
from starprompt.errors import FailedRunError, UserError
from starprompt.grid.finished_runs import back_up, restore
from starprompt.machine.devices import release_memory
from starprompt.record.record import RunRecord
from starprompt.training.run import run

logger = logging.getLogger(__name__)


def run_all(
    config: Config, cells: Sequence[Run], *, keep_backup: bool = False, track: str | None = None
) -> Iterator[tuple[Run, RunRecord]]:
    """Train and test the runs one after the other; yield each with its record when it is done.

    keep_backup  give each finished run second names, for a workflow that may remove the first
    track        what takes each run's losses and accuracies as they come

    Raises what went wrong when all others are finished: of several mistakes :class:`UserError`
    with all their sentences, of bugs the first (each is logged with its traceback). At once raises
    :class:`TerminatedError`, on SIGTERM and SIGINT.
    """
    failures: dict[Run, Exception] = {}
    for cell in cells:
        folder = config.run_folder(cell)
        restore(folder)
        try:
            record = run(config, cell, track=track)
        except Exception as error:
            if len(cells) == 1:
                raise
            traceback = None if isinstance(error, UserError) else error
            logger.error("seed %d failed: %s", cell.seed, error, exc_info=traceback)
            failures[cell] = error
        else:
            if keep_backup:
                back_up(folder)
            yield cell, record
        release_memory()
    if bugs := [error for error in failures.values() if not isinstance(error, UserError)]:
        raise bugs[0]
    if failures:
        said = " ".join(f"Seed {cell.seed}: {error}" for cell, error in failures.items())
        raise FailedRunError(f"{len(failures)} of {len(cells)} seeds failed. {said}")
