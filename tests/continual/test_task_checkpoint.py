"""A task kept between two steps: when, what of it is believed, what a full disk does."""

from pathlib import Path
from typing import Any

import pytest

from starprompt.continual import task_checkpoint
from starprompt.continual.task_checkpoint import FOLDER, PLACE, STATE
from starprompt.errors import TerminatedError, UserError
from tests.helpers.continual_toy import outcome_of, run_toy
from tests.helpers.counted_toy import counted, terminate

#: of the toy: three tasks of two epochs of three batches
STEPS = 3 * 2 * 3


class CrashError(Exception):
    """Ends a run from inside."""


def crash() -> None:
    raise CrashError


def test_a_long_task_is_kept_unasked(
    tmp_path: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_checkpoint, "KEEP_EVERY", 0.0)
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


def test_a_full_disk_while_keeping_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    def full(path: Path, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="disk is full"):
        run_toy(tmp_path, counted([], 2, terminate))
    assert not (tmp_path / "work" / FOLDER).exists()
