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

from starprompt.continual import task_checkpoint as under_way
from starprompt.continual.learner import Learner
from starprompt.continual.task_checkpoint import FOLDER, PLACE, STATE
from starprompt.errors import TerminatedError, UserError
from starprompt.machine.termination import ENDED_BY
from tests.helpers.continual_toy import ToyLearner, outcome_of, run_toy
from tests.helpers.paths import REPOSITORY

#: of the toy: three tasks of two epochs of three batches
STEPS = 3 * 2 * 3


class Counted(ToyLearner):
    """Counts its steps, over all processes that share the list, and can be hit at one of them."""

    taken: list[int]
    hit_at: int
    hit_with: Any

    def train_step(self, batch: Any) -> Any:
        self.taken.append(self.seen)
        if len(self.taken) == self.hit_at:
            self.hit_with()
        return super().train_step(batch)


def counted(taken: list[int], hit_at: int = 0, hit_with: Any = None) -> type[Learner]:
    """The toy under its own name, which ``hit_with`` hits in its ``hit_at``-th step of all."""
    own = {"taken": taken, "hit_at": hit_at, "hit_with": staticmethod(hit_with)}
    return type("ToyLearner", (Counted,), {**own, "__module__": ToyLearner.__module__})


def terminate() -> None:
    """Twice, as shells and schedulers pass it on."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    """Ctrl-C, and the scheduler's signal behind it."""
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


class CrashError(Exception):
    """Ends a run from inside."""


def crash() -> None:
    raise CrashError


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_toy(folder)
    return outcome_of(folder)


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


def test_a_long_task_is_kept_unasked(
    tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_way, "KEEP_EVERY", 0.0)
    taken: list[int] = []
    with pytest.raises(CrashError):
        run_toy(tmp_path, counted(taken, 11, crash))
    run_toy(tmp_path, counted(taken))
    assert len(taken) == STEPS + 1  # only the step that crashed was taken twice
    assert outcome_of(tmp_path) == undisturbed


@pytest.mark.parametrize("name", [STATE, PLACE])
def test_a_damaged_place_begins_its_task_anew(
    name: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    with pytest.raises(TerminatedError):
        run_toy(tmp_path, counted([], 8, terminate))
    file = tmp_path / "work" / FOLDER / name
    file.write_bytes(file.read_bytes()[:-9])
    taken: list[int] = []
    run_toy(tmp_path, counted(taken))
    assert len(taken) == 12
    assert outcome_of(tmp_path) == undisturbed


def test_a_place_of_another_fingerprint_is_not_gone_on_from(tmp_path: Path) -> None:
    with pytest.raises(TerminatedError):
        run_toy(tmp_path, counted([], 2, terminate))
    taken: list[int] = []
    assert run_toy(tmp_path, counted(taken), fingerprint="other").attempts == 1
    assert len(taken) == STEPS


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


def test_a_full_disk_while_keeping_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    def full(path: Path, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="disk is full"):
        run_toy(tmp_path, counted([], 2, terminate))
    assert not (tmp_path / "work" / FOLDER).exists()


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
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"{ENDED_BY[number]}; run it again and it goes on at epoch 1, step" in told
    assert "Traceback" not in told
