"""SIGTERM, as a scheduler sends it before it kills, and SIGINT, which is Ctrl-C.

Between steps a task can be kept, so while steps are taken a signal only leaves a note, and the run
ends at the next step with all that was done. At any other time a command ends at once; what was
kept is whole, because every file is written beside its place and renamed.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from starprompt.errors import TerminatedError

#: how messages call the signals; `starprompt status` looks for it in logs
ENDED_BY = {
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGINT: "ended by SIGINT (Ctrl-C)",
}
_AGAIN = "run it again"


class Termination:
    """Whether the run was asked to end."""

    def __init__(self, where: str) -> None:
        #: number of the first signal; 0 while there was none
        self.asked = 0
        self._where = where
        self._in_steps = False

    @contextmanager
    def in_steps(self) -> Iterator[None]:
        """While steps are taken, a signal only sets :attr:`asked`."""
        self._in_steps = True
        try:
            yield
        finally:
            self._in_steps = False

    def ended(self, where: str, goes_on: str) -> TerminatedError:
        """The error of a run that was asked to end; ``goes_on`` says where the next one does."""
        return _ended(self.asked, f"{where}: ", f"{_AGAIN} and it goes on {goes_on}")

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or number
        if (
            not self._in_steps
        ):  # in steps once or, as schedulers and shells pass it on, several times
            raise self.ended(self._where, "at what was kept last")


@contextmanager
def listening(where: str) -> Iterator[Termination]:
    """Handle SIGTERM and SIGINT in the block; does nothing outside the main thread.

    ``where`` names the run in the message. Raises :class:`TerminatedError` in the block.
    """
    termination = Termination(where)
    with _without_notes_of_lost(), handling(termination._signalled, signal.SIGTERM, signal.SIGINT):
        yield termination


@contextmanager
def _without_notes_of_lost() -> Iterator[None]:
    """In the block, Python says nothing of a :class:`TerminatedError` that it can't raise.

    That is one that a signal raises while an object is finalised. Python would print its traceback
    and go on; the note in :attr:`Termination.asked` stays, and ends the run at the next step.
    """
    usual = sys.unraisablehook

    def hook(lost: Any) -> None:
        if not isinstance(lost.exc_value, TerminatedError):
            usual(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


@contextmanager
def interruptible() -> Iterator[None]:
    """Handle SIGINT in the block: :class:`TerminatedError`, which no library takes for its own."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        raise _ended(number, "", f"nothing is half-written; {_AGAIN}")

    with handling(interrupted, signal.SIGINT):
        yield


@contextmanager
def ending_at_once() -> Iterator[None]:
    """End this process at a SIGINT in the block, for imports: there is nothing to clean up.

    An exception that is raised while libraries load may be lost in them.
    """
    with handling(end_at_once, signal.SIGINT):
        yield


def end_at_once(number: int, frame: FrameType | None) -> None:
    """A handler of a signal: say so and exit with its status."""
    os.write(2, f"{_ended(number, '', _AGAIN)}\n".encode())
    os._exit(128 + number)


def end_at_once_from_here_on() -> None:
    """As :func:`ending_at_once`, from the program's first lines to its end."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], Any], *numbers: int) -> Iterator[None]:
    """Handle signals in the block, but those that the caller wants ignored (a shell's ``&``)."""
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def _ended(number: int, where: str, then: str) -> TerminatedError:
    return TerminatedError(f"{where}{ENDED_BY[signal.Signals(number)]}; {then}.", number)
