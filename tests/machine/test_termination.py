"""SIGINT and SIGTERM: a sentence, the signal's status, no traceback, from the first import on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from starprompt.errors import TerminatedError
from starprompt.machine.termination import interruptible, listening
from tests.helpers.paths import REPOSITORY

#: sends the signal to this process when it imports `pydantic`, which the command line does early
INTERRUPTED_IMPORT = """
import os, runpy, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == "pydantic":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "start",
    [
        'runpy.run_module("starprompt.cli", run_name="__main__", alter_sys=True)',
        "from starprompt.__main__ import main; main()",
        'runpy.run_module("starprompt.grid.snakemake", run_name="__main__", alter_sys=True)',
    ],
)
def test_interrupted_while_it_imports_a_program_ends_in_a_sentence(start: str) -> None:
    done = python(INTERRUPTED_IMPORT + start)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "ended by SIGINT (Ctrl-C); run it again.\n"
    assert done.stdout == ""


def test_an_interrupted_command_ends_with_the_signals_status() -> None:
    done = python(
        """
import os, signal
import click
from starprompt import cli
@click.command
def app():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except Exception:
        print("taken for a failure")
cli.app = app
cli.main()
"""
    )
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert done.stderr == "ended by SIGINT (Ctrl-C); nothing is half-written; run it again.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_between_steps_a_run_ends_at_once(number: int) -> None:
    before = signal.getsignal(number)
    said = r"^joint: ended by SIG\w+"
    with pytest.raises(TerminatedError, match=said) as caught, listening("joint"):
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert signal.getsignal(number) is before


def test_what_the_caller_ignores_stays_ignored() -> None:
    """A shell starts what stands before `&` so, and its Ctrl-C is meant for others."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(), listening("joint") as termination:
            os.kill(os.getpid(), signal.SIGINT)
        assert not termination.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_while_an_object_is_finalised_is_kept_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Finalised:
        def __init__(self, act: Callable[[], object]) -> None:
            self.act = act

        def __del__(self) -> None:
            self.act()

    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: said.append(lost.exc_type))
    with listening("a run") as termination:
        Finalised(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert termination.asked == signal.SIGTERM
        Finalised(lambda: 1 / 0)
    Finalised(lambda: 1 / 0)
    assert said == [ZeroDivisionError, ZeroDivisionError]
