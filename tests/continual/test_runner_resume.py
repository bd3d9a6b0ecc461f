"""A run that was killed, anywhere, ends as if undisturbed, bit for bit."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from starprompt.continual.learner import Learner
from starprompt.record.record import read_record
from tests.helpers.continual_toy import RESULT_FILES, ToyLearner, ToyStream, outcome_of, run_toy
from tests.helpers.paths import REPOSITORY


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, int]]]:
    """The folder of all killed runs, and by name how often each was killed and its attempts."""
    folder = tmp_path_factory.mktemp("trials")
    command = [sys.executable, "-m", "tests.helpers.kill_trials", str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, check=True, env=environ, capture_output=True, text=True, timeout=800
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return folder, {name: (int(kills), int(attempts)) for name, kills, attempts in rows}


def test_killed_anywhere_a_run_ends_as_undisturbed(
    trials: tuple[Path, dict[str, tuple[int, int]]],
) -> None:
    folder, counts = trials
    undisturbed = outcome_of(folder / "undisturbed")
    operations = [name for name in counts if name.startswith("operation")]
    assert len(operations) > 40
    assert sum(counts[name][1] > 1 for name in operations) > 30
    assert sum(kills for name, (kills, _) in counts.items() if name.startswith("random")) > 0
    for name in counts:
        assert outcome_of(folder / name) == undisturbed, name


def test_nothing_is_left_over_where_a_run_was_killed(
    trials: tuple[Path, dict[str, tuple[int, int]]],
) -> None:
    folder, counts = trials
    for name in counts:
        left = {path.name for path in (folder / name).iterdir()}
        assert left == {".lock", "record.json", *RESULT_FILES}, name


def test_terminated_a_run_keeps_the_tasks_it_had_finished(
    trials: tuple[Path, dict[str, tuple[int, int]]],
) -> None:
    assert trials[1]["terminated"] == (1, 2)


class StopHereError(Exception):
    """Ends a run from inside."""


def stopping_at(task_index: int, base: type[Learner] = ToyLearner) -> type[Learner]:
    """The same learner under the same name, which does not survive the beginning of a task."""

    def begin_task(self: Any, task: Any) -> None:
        if task.index == task_index:
            raise StopHereError
        base.begin_task(self, task)

    return type(base.__name__, (base,), {"begin_task": begin_task, "__module__": base.__module__})


@pytest.mark.parametrize("task", [0, 1, 2])
def test_it_goes_on_at_the_last_finished_task(task: int, tmp_path: Path) -> None:
    begun: list[int] = []

    class Watched(ToyLearner):
        def begin_task(self, task: Any) -> None:
            begun.append(task.index)
            super().begin_task(task)

    Watched.__name__ = "ToyLearner"
    with pytest.raises(StopHereError):
        run_toy(tmp_path / "a", stopping_at(task))
    assert not (tmp_path / "a" / "record.json").exists()
    record = run_toy(tmp_path / "a", Watched)
    assert begun == list(range(task, 3))
    assert record.attempts == 2


def test_another_fingerprint_begins_afresh(tmp_path: Path) -> None:
    with pytest.raises(StopHereError):
        run_toy(tmp_path / "a", stopping_at(2))
    changed = run_toy(tmp_path / "a", fingerprint="changed", learning_rate=0.1)
    assert changed.attempts == 1
    run_toy(tmp_path / "b", fingerprint="changed", learning_rate=0.1)
    assert outcome_of(tmp_path / "a") == outcome_of(tmp_path / "b")


@pytest.mark.parametrize(
    "name", ["state.safetensors", "predictions.parquet", "diagnostics.safetensors", "outcome.json"]
)
def test_a_damaged_checkpoint_is_not_gone_on_from(name: str, tmp_path: Path) -> None:
    with pytest.raises(StopHereError):
        run_toy(tmp_path / "a", stopping_at(2))
    file = tmp_path / "a" / "work" / "task-001" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    run_toy(tmp_path / "a")
    run_toy(tmp_path / "b")
    assert outcome_of(tmp_path / "a") == outcome_of(tmp_path / "b")


def test_a_finished_run_is_not_run_again_unless_it_is_another(tmp_path: Path) -> None:
    first = run_toy(tmp_path, fingerprint=None)

    class Forbidden(ToyLearner):
        def setup(self) -> None:
            raise AssertionError("a finished run was built again")

    Forbidden.__name__, Forbidden.__module__ = "ToyLearner", ToyLearner.__module__
    assert run_toy(tmp_path, Forbidden, fingerprint=None) == first
    other = run_toy(tmp_path, fingerprint=None, learning_rate=0.1)
    assert other.fingerprint != first.fingerprint
    assert other.method.hyperparameters["learning_rate"] == 0.1


@pytest.mark.parametrize("name", [*RESULT_FILES, "record.json"])
def test_a_run_with_a_file_missing_is_not_finished(name: str, tmp_path: Path) -> None:
    run_toy(tmp_path / "a")
    whole = outcome_of(tmp_path / "a")
    (tmp_path / "a" / name).unlink()
    run_toy(tmp_path / "a")
    assert outcome_of(tmp_path / "a") == whole


def test_a_damaged_record_is_made_again(tmp_path: Path) -> None:
    run_toy(tmp_path)
    whole = outcome_of(tmp_path)
    (tmp_path / "record.json").write_text("{")
    run_toy(tmp_path)
    assert outcome_of(tmp_path) == whole


def test_runs_of_one_seed_are_equal_and_of_two_are_not(tmp_path: Path) -> None:
    torch.rand(3)  # whatever was drawn before does not matter
    stream = ToyStream()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_toy(tmp_path / name, stream=stream, seed=seed)
    a, b, c = (outcome_of(tmp_path / name) for name in "abc")
    assert a == b
    assert a["checkpoint.safetensors"] != c["checkpoint.safetensors"]


WAITING = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from tests.helpers.continual_toy import ToyLearner, run_toy
import logging
logging.basicConfig(format="%(message)s")
folder = Path({folder!r})

class Slow(ToyLearner):
    def begin_task(self, task):
        (folder / "begun").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
        super().begin_task(task)

print(run_toy(folder / "run", Slow).attempts)
"""


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def _start(tmp_path: Path) -> subprocess.Popen[str]:
    program = WAITING.format(here=str(REPOSITORY), folder=str(tmp_path))
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def test_a_second_process_waits_and_finds_the_run_done(tmp_path: Path) -> None:
    first = _start(tmp_path)
    _wait_for(tmp_path / "begun", first)
    second = _start(tmp_path)
    assert second.stderr is not None
    assert "another process works on" in second.stderr.readline()
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=300)[0].strip() for process in (first, second)] == ["1"] * 2
    assert read_record(tmp_path / "run" / "record.json").attempts == 1


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    first = _start(tmp_path)
    _wait_for(tmp_path / "begun", first)
    second = _start(tmp_path)
    assert second.stderr is not None
    second.stderr.readline()
    first.kill()
    first.communicate()
    (tmp_path / "go").touch()
    assert second.communicate(timeout=300)[0].strip() == "2"
