"""The status as JSON, as a page and in a terminal, and the time that is left."""

import io
import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from starprompt.config.experiment import Run, load_config
from starprompt.errors import UserError
from starprompt.grid import status, status_views
from starprompt.grid.status import Known, RunStatus, experiment_status
from starprompt.grid.status_views import TimeLeft, duration, panel, progress
from starprompt.record.run_files import PROGRESS, RECORD
from tests.helpers.begun_runs import CONFIG, begin_grid, call
from tests.helpers.whole_runs import write_whole_grid


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begin_grid(tmp_path)


def of(seed: int) -> RunStatus:
    return next(s for s in experiment_status(CONFIG) if s.run.seed == seed)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[1]",
        "[[]]",
        "{}",
        '{"task": 0, "epoch": 3, "epochs": 4, "steps_done": 30, "steps": 40}',
        '{"task": 1, "epoch": 9, "epochs": 4, "steps_done": 30, "steps": 40}',
        '{"task": 1, "epoch": 3, "epochs": 4, "steps_done": 50, "steps": 40}',
        '{"task": 1, "epoch": NaN, "epochs": 4, "steps_done": 30, "steps": 40}',
        '{"task": 1, "epoch": Infinity, "epochs": 4, "steps_done": 30, "steps": 40}',
        '{"task": 1, "epoch": "x", "epochs": 4, "steps_done": 30, "steps": 40}',
        "[" * 100_000,
    ],
)
def test_a_note_of_progress_that_makes_no_sense_is_left_out(note: str) -> None:
    (CONFIG.run_folder(Run("digits", "finetune", 2)) / "work" / PROGRESS).write_text(note)
    found = of(2)
    assert (found.epoch, found.tasks_done, found.part) == (0, 1, 1 / 5)


@pytest.mark.parametrize("outcome", ["", "{}", '{"accuracy": 3}', '{"accuracy": [NaN, "a"]}'])
def test_an_outcome_that_makes_no_sense_has_no_accuracy(outcome: str) -> None:
    work = CONFIG.run_folder(Run("digits", "finetune", 2)) / "work"
    (work / "task-000/outcome.json").write_text(outcome)
    assert of(2).so_far is None
    json.loads(call("--json"))


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_escapes_what_logs_say() -> None:
    assert call("--html", "status.html") == "wrote status.html\n"
    text = Path("status.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert page.tags.count("tr") == 4
    assert "<script>alert(1)</script> & more" in page.text
    assert "<Small>" in page.text
    assert "task 2 of 5, epoch 3 of 4, 70.0% so far" in page.text
    assert "http" not in text.replace("http-equiv", "")


def test_one_form_at_a_time() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        status_views.show(CONFIG, None, False, True, True, None)


def test_watching_needs_a_terminal() -> None:
    with pytest.raises(UserError, match="needs a terminal"):
        status_views.watch(CONFIG, console=Console(file=io.StringIO()))


def test_watching_shows_every_change_and_ends_with_the_last_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that finishes the run instead of sleeping."""
    out = io.StringIO()

    def sleep(_: float) -> None:
        shutil.rmtree(CONFIG.run_folder(Run("digits", "finetune", 2)))
        write_whole_grid(CONFIG, [Run("digits", "finetune", 2)], Path())

    # its own clock alone: other threads of this process sleep too
    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr(status_views, "time", clock)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=out, force_terminal=True, width=100, height=20)
    status_views.watch(CONFIG, every=0, console=console)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "1 of 3 runs" in said and "2 of 3 runs" in said
    assert "epoch 3 of 4" in said


def test_a_panel_counts_what_has_no_space() -> None:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(panel(CONFIG, experiment_status(CONFIG), 100.0, most=1))
    said = console.export_text()
    assert "and 1 more" in said
    assert "about 2 min left" in said


def test_a_finished_record_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known: Known = {}
    first = experiment_status(CONFIG, known=known)
    monkeypatch.setattr(status, "read_record", None)
    assert experiment_status(CONFIG, known=known) == first
    (CONFIG.run_folder(Run("digits", "finetune", 1)) / RECORD).unlink()
    assert experiment_status(CONFIG, known=known)[0].state != "finished"


def test_the_time_left_follows_what_was_done() -> None:
    now = 0.0
    left = TimeLeft(lambda: now)
    runs = [RunStatus(Run("d", "m", seed), "waiting", 2, 0) for seed in range(4)]
    assert left.seconds(runs) is None
    now = 10.0
    done = RunStatus(runs[0].run, "finished", 2, 2, accuracy=50.0, part=1.0, seconds=8.0)
    assert left.seconds([done, *runs[1:]]) == pytest.approx(30)
    failed = RunStatus(runs[1].run, "failed", 2, 0)
    assert left.seconds([done, failed, *runs[2:]]) == pytest.approx(20)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59, "59 s"), (150, "2 min"), (7500, "2 h 5 min")]
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_waits_says_nothing() -> None:
    assert progress(RunStatus(Run("d", "m", 1), "waiting", 5, 0)) == ""
    assert load_config(Path("config/small.yaml")).name == "small"
