"""A run that SIGTERM or Ctrl-C ends keeps what it has done, to the step, and goes on there."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from starprompt.continual.learner import Learner
from starprompt.errors import TerminatedError
from starprompt.machine.termination import ENDED_BY
from tests.helpers.continual_toy import ToyLearner, outcome_of, run_toy
from tests.helpers.counted_toy import counted, terminate
from tests.helpers.paths import REPOSITORY

#: of the toy: three tasks of two epochs of three batches
STEPS = 3 * 2 * 3


def interrupt() -> None:
    """Ctrl-C, and the scheduler's signal behind it."""
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_ended_at_any_step_it_goes_on_at_the_next(
    step: int, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    before, taken = signal.getsignal(signal.SIGTERM), []  # type: ignore[var-annotated]
    with pytest.raises(TerminatedError, match=r"ended by SIGTERM; run it again and it goes on at"):
        run_toy(tmp_path, counted(taken, step, terminate))
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(taken) == step
    record = run_toy(tmp_path, counted(taken))
    assert len(taken) == STEPS
    assert record.attempts == 2
    assert sum(times.steps for times in record.times) == STEPS
    assert outcome_of(tmp_path) == undisturbed


@pytest.mark.parametrize("step", [1, 9, STEPS])
def test_interrupted_it_goes_on_at_the_next_step(
    step: int, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    taken: list[int] = []
    with pytest.raises(
        TerminatedError, match=r"ended by SIGINT \(Ctrl-C\); run it again"
    ) as caught:
        run_toy(tmp_path, counted(taken, step, interrupt))
    assert caught.value.number == signal.SIGINT
    assert len(taken) == step
    run_toy(tmp_path, counted(taken))
    assert len(taken) == STEPS
    assert outcome_of(tmp_path) == undisturbed


def test_ended_again_and_again_it_arrives(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    taken: list[int] = []
    for number in range(1, STEPS + 1):
        with pytest.raises(TerminatedError):
            run_toy(tmp_path, counted(taken, number, terminate))
        assert len(taken) == number
    assert run_toy(tmp_path, counted(taken)).attempts == STEPS + 1
    assert outcome_of(tmp_path) == undisturbed


def test_a_learner_that_can_not_tell_begins_its_task_anew(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    taken: list[int] = []

    def silent(hit_at: int) -> type[Learner]:
        own = {"task_state": lambda self: None, "__module__": ToyLearner.__module__}
        return type("ToyLearner", (counted(taken, hit_at, terminate),), own)

    with pytest.raises(TerminatedError, match="at its task"):
        run_toy(tmp_path, silent(8))
    run_toy(tmp_path, silent(0))
    assert len(taken) == STEPS + 2
    assert outcome_of(tmp_path) == undisturbed


def test_elsewhere_than_in_the_main_thread_a_run_minds_no_signal(tmp_path: Path) -> None:
    thread = threading.Thread(target=run_toy, args=(tmp_path,))
    thread.start()
    thread.join()
    assert (tmp_path / "record.json").is_file()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_with_the_signals_status(number: int, tmp_path: Path) -> None:
    """The real command line, hit from outside while the demo's fine-tuning takes its steps."""
    program = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}]
from starprompt import cli
from tests.helpers.continual_toy import ToyLearner, run_toy
from pathlib import Path

class Slow(ToyLearner):
    def train_step(self, batch):
        Path({str(tmp_path / "begun")!r}).touch()
        import time
        time.sleep(0.2)
        return super().train_step(batch)

cli.app = lambda: run_toy(Path({str(tmp_path / "run")!r}), Slow)
cli.main()
"""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"{ENDED_BY[number]}; run it again and it goes on at epoch 1, step" in printed
    assert "Traceback" not in printed
