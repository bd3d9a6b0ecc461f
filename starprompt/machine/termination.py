"""SIGTERM, as a scheduler sends it before it kills: end at the next step, with all that was done.

Between steps a task can be kept, so while steps are taken the signal only leaves a note. At any
other time the run ends at once; what was kept is whole, because every file is written beside its
place and renamed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from starprompt.errors import TerminatedError


class Termination:
    """Whether the run was asked to end."""

    def __init__(self, where: str) -> None:
        self.asked = False
        self._where = where
        self._in_steps = False

    @contextmanager
    def in_steps(self) -> Iterator[None]:
        """While steps are taken, the signal only sets :attr:`asked`."""
        self._in_steps = True
        try:
            yield
        finally:
            self._in_steps = False

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self._in_steps:  # once or, as schedulers and shells pass it on, several times
            self.asked = True
            return
        raise TerminatedError(
            f"{self._where}: ended by SIGTERM; run it again and it goes on at what was kept last."
        )


@contextmanager
def listening(where: str) -> Iterator[Termination]:
    """Handle SIGTERM in the block; does nothing outside the main thread.

    ``where`` names the run in the message. Raises :class:`TerminatedError` in the block.
    """
    termination = Termination(where)
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return
    before = signal.signal(signal.SIGTERM, termination._signalled)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
