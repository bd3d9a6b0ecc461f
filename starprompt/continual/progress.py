"""Where in its task a run is, for others to read: a small file, written once a second at most."""

import time
from contextlib import suppress
from pathlib import Path

from starprompt.errors import UserError
from starprompt.files import write_json
from starprompt.record.run_files import PROGRESS

#: seconds between two notes
EVERY = 1.0


class ProgressNote:
    """``work/progress.json``: task (from 0), epoch (from 1), epochs, steps_done, steps.

    Nothing reads it to go on with, so a note that cannot be written is left out: a full disk is
    reported by what has to be written.
    """

    def __init__(self, work: Path, task: int, epochs: int, steps: int) -> None:
        self._path = work / PROGRESS
        self._about = {"task": task, "epochs": epochs, "steps": steps}
        self._next = 0.0

    def say(self, epoch: int, steps_done: int, clock: float) -> None:
        """Note the place, unless the last note is newer than :data:`EVERY` seconds.

        clock  now, by ``time.perf_counter``
        """
        if clock < self._next:
            return
        with suppress(OSError, UserError):
            write_json(self._path, {**self._about, "epoch": epoch, "steps_done": steps_done})
        self._next = time.perf_counter() + EVERY
