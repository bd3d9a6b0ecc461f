"""What a person sees while the grid runs: in a terminal, in a log, and when something fails."""

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from starprompt.config.experiment import Run
from starprompt.grid import live
from starprompt.grid.live import _changes, experiment_of, shows_progress
from starprompt.grid.status import RunStatus
from tests.helpers.calls import environment
from tests.helpers.paths import REPOSITORY
from tests.helpers.workflows import copy_of_repository, start

CALL = ["-m", "starprompt.grid.snakemake", "--cores", "2", "--configfile", "config/small.yaml"]
RUN = Run("digits", "joint", 1993)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_repository(tmp_path_factory.mktemp("live") / "copy")


def in_a_terminal(folder: Path, *arguments: str, stop_at: str | None = None) -> tuple[int, str]:
    """Exit status and all that a terminal got; Ctrl-C is pressed once ``stop_at`` is shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *CALL, *arguments],
        cwd=folder,
        env=environment(REPOSITORY) | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    got, pressed, end = "", False, time.monotonic() + 300
    while time.monotonic() < end:
        if select.select([master], [], [], 0.2)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            got += data.decode(errors="replace")
            if stop_at is not None and stop_at in got and not pressed:
                os.write(master, b"\x03")
                pressed = True
    os.close(master)
    return process.wait(timeout=120), got


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_a_terminal_shows_a_bar_and_a_log_has_snakemakes_lines(copy: Path) -> None:
    status, got = in_a_terminal(copy)
    said = plain(got)
    assert status == 0, said
    assert "small: 0 of 6 runs" in said
    assert "small: 6 of 6 runs (6 finished)" in said
    assert "6 of 6 runs of small are finished, after" in said
    assert "rule train" not in said
    (log,) = (copy / "results/logs/workflow").iterdir()
    assert str(log.relative_to(copy)) in said
    assert "rule train" in log.read_text()
    assert "6 of 6" not in log.read_text()
    assert got.rstrip().endswith(".log"), "the cursor is behind the last line"
    assert got.rindex("\x1b[?25h") > got.rindex("\x1b[?25l"), "the cursor is shown again"


def test_a_log_has_a_line_per_event(copy: Path) -> None:
    (copy / "results/runs/small/digits/joint/seed1993/record.json").unlink()
    process = start(copy)
    text = copy / "workflow.log"
    assert process.wait(timeout=240) == 0, text.read_text()
    lines = text.read_text().splitlines()
    assert [line for line in lines if "joint on digits, seed 1993: finished, " in line]
    assert [line for line in lines if line.endswith("tables: finished")]
    assert "6 of 6 runs of small are finished" in lines[-1]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines[:-1]), lines
    assert not any("rule " in line for line in lines)


def test_a_failure_shows_its_error_lines(copy: Path) -> None:
    (copy / "results/runs/small/digits/joint/seed1993/record.json").unlink()
    (copy / "failing").write_text("joint")
    (copy / "workflow.log").unlink(missing_ok=True)
    assert start(copy).wait(timeout=240) == 1
    (copy / "failing").unlink()
    said = (copy / "workflow.log").read_text()
    assert "failed: train" in said
    assert "results/logs/small/train/digits/joint/seed1993.log:" in said
    assert "  | joint fails" in said


def test_ctrl_c_ends_it_and_shows_the_cursor(copy: Path) -> None:
    for record in (copy / "results/runs").rglob("record.json"):
        record.unlink()
    status, got = in_a_terminal(copy, stop_at="0 of 6 runs")
    assert status == 130, plain(got)
    assert got.rindex("\x1b[?25h") > got.rindex("\x1b[?25l")
    assert "runs of small are finished" in plain(got)


@pytest.mark.parametrize(
    ("arguments", "terminal", "shown"),
    [
        (["--cores", "2", "--configfile", "x"], False, True),
        (["--cores", "2", "all", "compare"], True, True),
        (["-c", "2", "-k", "-F"], True, True),
        (["-n"], True, False),
        (["-np"], True, False),
        (["--dry-run"], True, False),
        (["--report", "x.html"], True, False),
        (["--report=x.html"], True, False),
        (["--unlock"], True, False),
        (["--workflow-profile", "slurm"], True, True),
        (["--workflow-profile=slurm"], False, False),
    ],
)
def test_calls_that_train_nothing_keep_snakemakes_lines(
    arguments: list[str], terminal: bool, shown: bool
) -> None:
    assert shows_progress(arguments, terminal) is shown


def test_the_experiment_is_the_call_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    call = ["--cores", "all", "--configfile", "config/demo.yaml"]
    found = experiment_of([*call, "--config", "seeds=[1993]", "name=one", "--keep-going"])
    assert found is not None
    assert (found.name, found.seeds) == ("one", [1993])
    assert (experiment_of(["--cores", "all"]) or found).name == "paper"
    assert experiment_of([*call, "--config", "seeds=x"]) is None
    assert experiment_of(["--configfile", "config/none.yaml"]) is None
    assert experiment_of(["--configfile", "config/demo.yaml", "config/paper.yaml"]) is None


def test_what_happened_between_two_looks() -> None:
    waiting = RunStatus(RUN, "waiting", 3, 0)
    second = RunStatus(RUN, "running", 3, 2, so_far=71.0)
    assert list(_changes(waiting, second)) == ["started", "task 2 of 3 finished, 71.00% so far"]
    assert list(_changes(second, second)) == []
    finished = RunStatus(RUN, "finished", 3, 3, accuracy=70.0)
    assert list(_changes(second, finished)) == ["finished, 70.00%"]
    failed = RunStatus(RUN, "failed", 3, 2, logs=(Path("a.log"),))
    assert list(_changes(second, failed)) == ["failed (a.log)"]


def test_a_line_of_another_form_is_passed_on() -> None:
    import logging

    jobs = live._Jobs()
    record = logging.LogRecord("x", 20, "f", 1, "text", (), None)
    assert jobs.filter(record)
    record.event = type("Event", (), {"value": "job_info"})()
    assert jobs.filter(record) and not jobs.running
