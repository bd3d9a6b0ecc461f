"""A run's lock says whether somebody works on it; the note beside it says who."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from starprompt.machine.run_lock import LOCK, NOTE, owner, write_note


def test_a_folder_without_a_lock_has_no_owner(tmp_path: Path) -> None:
    write_note(tmp_path)
    assert owner(tmp_path) is None
    assert not (tmp_path / LOCK).exists(), "asking makes no lock"


def test_a_held_lock_has_the_owner_of_its_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with FileLock(tmp_path / LOCK):
        write_note(tmp_path)
        found = owner(tmp_path)
    assert found is not None
    assert found["process"] == os.getpid()
    assert found["slurm_job"] == "77"
    assert found["host"]
    assert found["devices"] == ""


def test_the_note_of_one_who_let_go_means_nothing_and_the_lock_stays_free(tmp_path: Path) -> None:
    with FileLock(tmp_path / LOCK):
        write_note(tmp_path)
    assert owner(tmp_path) is None
    with FileLock(tmp_path / LOCK, timeout=0):
        pass


@pytest.mark.parametrize("text", [None, "", "[", "[1]"])
def test_a_held_lock_with_no_readable_note_has_an_unknown_owner(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / NOTE).write_text(text)
    with FileLock(tmp_path / LOCK):
        assert owner(tmp_path) == {}
