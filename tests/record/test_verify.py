"""Files of a run are used only if they are the ones that the run left."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from starprompt.continual.checkpoint import WorkFolder, _read_outcome
from starprompt.errors import UserError
from starprompt.files import SEAL, sealed
from starprompt.record.metrics import measure
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import RECORD, RUN_FILES
from starprompt.record.verify import verify_run
from tests.helpers.continual_toy import ToyLearner, outcome_of, run_toy

FILES = [name for name in RUN_FILES if name != RECORD]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_toy(folder)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "zeroed":
        path.write_bytes(bytes(len(data)))
    elif how == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["truncated", "zeroed", "flipped", "folder"])
def test_a_damaged_file_of_a_finished_run_is_named(folder: Path, name: str, how: str) -> None:
    record = read_record(folder / RECORD)
    verify_run(folder, record)
    damage(folder / name, how)
    with pytest.raises(UserError, match=name):
        verify_run(folder, record)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["truncated", "zeroed"])
def test_without_digests_what_does_not_open_is_named(folder: Path, name: str, how: str) -> None:
    """As for runs of earlier versions."""
    record = read_record(folder / RECORD)
    record.digests = {}
    verify_run(folder, record)
    damage(folder / name, how)
    with pytest.raises(UserError, match=name):
        verify_run(folder, record)


def test_the_accuracy_is_computed_anew_from_the_predictions(folder: Path) -> None:
    """An accuracy that fits its metrics and its digest, but not what was predicted."""
    record = read_record(folder / RECORD)
    last = record.accuracy[-1]
    record.accuracy[-1] = [99.99 for _ in last]
    record.metrics = measure(record.accuracy, record.stream.test_counts)
    write_record(folder / RECORD, record)
    with pytest.raises(UserError, match=r"predictions\.parquet contradicts its record"):
        verify_run(folder, read_record(folder / RECORD))


def test_a_finished_run_that_was_damaged_is_trained_anew(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = outcome_of(folder)
    damage(folder / "checkpoint.safetensors", "zeroed")
    with caplog.at_level(logging.WARNING):
        run_toy(folder)
    assert "checkpoint.safetensors is not the file that its run wrote" in caplog.text
    assert "The run is trained again." in caplog.text
    assert outcome_of(folder) == before


class StopHereError(Exception):
    """Ends a run in its third task."""


class Stopping(ToyLearner):
    def begin_task(self, task: object) -> None:
        if task.index == 2:  # type: ignore[attr-defined]
            raise StopHereError
        super().begin_task(task)  # type: ignore[arg-type]


def test_tasks_that_changed_places_or_runs_are_learned_again(tmp_path: Path) -> None:
    for name in ("one", "other"):
        with pytest.raises(StopHereError):
            run_toy(tmp_path / name, Stopping, fingerprint=name)
    work, other = tmp_path / "one" / "work", tmp_path / "other" / "work"
    assert len(WorkFolder(work, "one").outcomes) == 2
    first, second = work / "task-000", work / "task-001"
    assert _read_outcome(second, 1, "one") is not None
    assert _read_outcome(second, 0, "one") is None, "of another task"
    shutil.rmtree(second)
    shutil.copytree(other / "task-001", second)
    assert _read_outcome(second, 1, "one") is None, "of another run"
    shutil.copytree(first, tmp_path / "held")
    path = first / "outcome.json"
    value = json.loads(path.read_text())
    value["peak_memory_bytes"] += 1
    path.write_text(json.dumps(value))
    assert _read_outcome(first, 0, "one") is None, "changed"
    del value[SEAL]
    path.write_text(json.dumps(sealed(value)))
    assert _read_outcome(first, 0, "one") is not None
