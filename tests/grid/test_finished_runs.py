"""Backups of finished runs come back whole or not at all, and go when they are not needed."""

from pathlib import Path

import pytest

from starprompt.grid.finished_runs import BACKUP, back_up, remove_backups, restore
from starprompt.record.run_files import RUN_FILES


def files_of(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in RUN_FILES if (folder / name).exists()}


def leave(folder: Path, what: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in RUN_FILES:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(what)


def test_what_was_set_aside_comes_back_whole_or_not_at_all(tmp_path: Path) -> None:
    first, second = (dict.fromkeys(RUN_FILES, what) for what in ("first", "second"))
    leave(tmp_path, "first")
    back_up(tmp_path)
    back_up(tmp_path)
    for gone in (["checkpoint.safetensors"], ["record.json", "selection.parquet"], RUN_FILES):
        for name in gone:
            (tmp_path / name).unlink()
        restore(tmp_path)
        assert files_of(tmp_path) == first
    # another run's files are not mixed with it
    leave(tmp_path, "second")
    (tmp_path / "checkpoint.safetensors").unlink()
    restore(tmp_path)
    assert files_of(tmp_path) == {n: t for n, t in second.items() if n[0] != "c"}
    leave(tmp_path, "second")
    back_up(tmp_path)
    leave(tmp_path, "third")
    (tmp_path / "record.json").unlink()
    restore(tmp_path)
    assert files_of(tmp_path) == second
    # and what a killed process had begun to set aside is no finished run
    (tmp_path / BACKUP / "selection.parquet").unlink()
    (tmp_path / "record.json").unlink()
    restore(tmp_path)
    assert not (tmp_path / "record.json").exists()


def test_second_names_fall_once_the_first_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished, removed, other = (
        Path("results/runs") / name for name in ("toy/d/m/seed1", "toy/d/m/seed2", "b/d/m/seed1")
    )
    for folder in (finished, removed, other):
        leave(folder, "a run")
        back_up(folder)
    (removed / "record.json").unlink()
    remove_backups("toy")
    assert not (finished / BACKUP).exists()
    assert (removed / BACKUP).exists() and (other / BACKUP).exists()
    assert len(files_of(finished)) == len(RUN_FILES)
