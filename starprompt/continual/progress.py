"""Where in its task a run is, for others to read: a small file, written once a second at most."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from starprompt.errors import UserError
from starprompt.files import write_json
from starprompt.record.run_files import PROGRESS

#: seconds between two notes
EVERY = 1.0

#: takes a phase of a task's end ("ridge"), how many of its parts are done, and how many there are
Report = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """The :data:`Report` of a learner outside of a run: does nothing."""


class ProgressNote:
    """``work/progress.json``: task (from 0), epoch (from 1), epochs, steps_done, steps, phase.

    Nothing reads it to go on with, so a note that cannot be written is left out: a full disk is
    reported by what has to be written.
    """

    def __init__(self, work: Path, task: int, epochs: int, steps: int) -> None:
        self._path = work / PROGRESS
        self._about = {"task": task, "epochs": epochs, "steps": steps}
        self._next = 0.0

    def say(self, epoch: int, steps_done: int, clock: float, phase: str = "") -> None:
        """Note the place, unless the last note is newer than :data:`EVERY` seconds.

        clock  now, by ``time.perf_counter``
        phase  what the end of the task computes; empty while it takes steps
        """
        if clock < self._next:
            return
        place = {"epoch": epoch, "steps_done": steps_done, "phase": phase}
        with suppress(OSError, UserError):
            write_json(self._path, {**self._about, **place})
        self._next = time.perf_counter() + EVERY


class TaskEnd:
    """The :data:`Report` of a task's end: a bar for each phase on a terminal, and the note.

    steps     that the task took, all of them
    where     the run and its task, in front of the bar
    progress  bars on or off; None: on when stderr is a terminal
    """

    def __init__(
        self, note: ProgressNote, epochs: int, steps: int, where: str, progress: bool | None
    ) -> None:
        self._note, self._place = note, (epochs, steps)
        self._where, self._disable = where, None if progress is None else not progress
        self._phase = ""
        self._bar: tqdm | None = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        if self._bar is None or phase != self._phase:
            self.close()
            self._phase = phase
            description = f"{self._where}, {phase}"
            self._bar = tqdm(total=total, desc=description, leave=False, disable=self._disable)
        self._bar.update(done - self._bar.n)
        self._note.say(*self._place, time.perf_counter(), f"{phase} {done} of {total}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
