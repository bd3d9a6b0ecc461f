"""Where a run is, for others to read: seldom written, and never the reason why a run ends."""

import json
from pathlib import Path

import pytest
from pytest import CaptureFixture

from starprompt.continual import progress
from starprompt.continual.progress import ProgressNote, TaskEnd, silent
from starprompt.record.run_files import PROGRESS
from tests.helpers.continual_toy import ToyLearner, outcome_of, run_toy


def test_a_note_is_written_at_most_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.time, "perf_counter", lambda: 100.0)
    note = ProgressNote(tmp_path, task=2, epochs=5, steps=50)
    note.say(1, 1, clock=100.0)
    note.say(1, 2, clock=100.9)
    path = tmp_path / PROGRESS
    assert json.loads(path.read_text()) == {
        "task": 2,
        "epochs": 5,
        "steps": 50,
        "epoch": 1,
        "steps_done": 1,
        "phase": "",
    }
    note.say(4, 40, clock=101.0)
    assert json.loads(path.read_text())["steps_done"] == 40


def test_the_end_of_a_task_says_how_far_it_is(tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    note = ProgressNote(tmp_path, task=1, epochs=4, steps=12)
    report = TaskEnd(note, 4, 12, "toy, task 2 of 3", progress=True)
    report("ridge", 3, 17)
    report.close()
    assert "toy, task 2 of 3, ridge" in capsys.readouterr().err
    assert json.loads((tmp_path / PROGRESS).read_text()) == {
        "task": 1,
        "epochs": 4,
        "steps": 12,
        "epoch": 4,
        "steps_done": 12,
        "phase": "ridge 3 of 17",
    }


def test_without_a_terminal_the_end_of_a_task_prints_nothing(
    tmp_path: Path, capsys: CaptureFixture[str]
) -> None:
    report = TaskEnd(ProgressNote(tmp_path, 0, 1, 1), 1, 1, "toy", progress=None)
    report("ridge", 1, 2)
    report("EM iteration", 9, 200)
    report("EM iteration", 0, 200)  # of the next start
    report.close()
    assert capsys.readouterr().err == ""


def test_only_the_end_of_a_task_is_reported(tmp_path: Path) -> None:
    reports: list[object] = []

    class Reporting(ToyLearner):
        def end_task(self, task: object) -> None:
            reports.append(self.report)
            self.report("sum", 1, 1)
            super().end_task(task)

        def predict(self, batch: object) -> object:
            reports.append(self.report)
            return super().predict(batch)

    run_toy(tmp_path / "toy", Reporting)
    assert isinstance(reports[0], TaskEnd)
    assert reports[1] is silent


def test_a_note_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the folder should be")
    ProgressNote(tmp_path / "work", task=0, epochs=1, steps=1).say(1, 1, clock=1.0)


def test_a_run_notes_where_it_is_and_ends_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict] = []

    class Looking(ToyLearner):
        def end_task(self, task: object) -> None:
            seen.append(json.loads((tmp_path / "noted/work" / PROGRESS).read_text()))
            super().end_task(task)

    Looking.__name__ = "ToyLearner"
    Looking.__module__ = ToyLearner.__module__
    monkeypatch.setattr(progress, "EVERY", 0.0)
    run_toy(tmp_path / "noted", Looking)
    assert [note["task"] for note in seen] == list(range(len(seen)))
    assert all(note["steps_done"] == note["steps"] > 0 for note in seen)
    assert all(note["epoch"] == note["epochs"] for note in seen)
    monkeypatch.setattr(progress, "EVERY", 1e9)
    run_toy(tmp_path / "quiet")
    assert outcome_of(tmp_path / "noted") == outcome_of(tmp_path / "quiet")
