"""Libraries are loaded with Python's garbage collector off, and what they made is left alone.

torch and the libraries on it make half a million objects while they load. The collector looks
through all of them several times meanwhile, and once more when the process ends, and frees next to
nothing: together a third of what a process takes that only starts and ends.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from starprompt.machine.termination import end_at_once_from_here_on, ending_at_once


class _Process:
    """Whether this is a command of ours: in a notebook, objects and Ctrl-C are the user's."""

    is_command = False


def begin() -> None:
    """In the first lines of a program: what is imported until :func:`loaded` is being loaded.

    A SIGINT ends the process at once (:func:`end_at_once_from_here_on`).
    """
    end_at_once_from_here_on()
    _Process.is_command = True
    gc.disable()
    # At its end a process gives back all its memory by itself.
    atexit.register(gc.freeze)


def loaded() -> None:
    """From here on a command's garbage is collected, but among what is made later."""
    if _Process.is_command:
        gc.freeze()
        gc.enable()


@contextmanager
def loading() -> Iterator[None]:
    """Import libraries in the block, in which nothing is collected.

    A command ends at once on a SIGINT in it, and leaves alone what the block has made.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        with ending_at_once() if _Process.is_command else nullcontext():
            yield
    finally:
        if before:
            gc.enable()
        loaded()
