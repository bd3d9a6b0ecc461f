"""A grid run on two machines becomes one; others' runs keep their name; nothing is mixed up."""

import shutil
from pathlib import Path

import pytest

from starprompt.config.experiment import Run
from starprompt.errors import UserError
from starprompt.grid.records import every_run, export, import_archive, merge
from starprompt.record.origins import imported_runs, origin_of
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import RECORD, has_all_files
from tests.helpers.paths import REPOSITORY
from tests.helpers.record_runs import GRID
from tests.helpers.whole_runs import write_whole_grid

FIRST_STAGE = "starprompt-first-stage"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders stand for two machines; a test begins on the first."""
    for machine in ("one", "other"):
        (tmp_path / machine).mkdir()
        (tmp_path / machine / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path / "one")


def runs_of(seed: int) -> list[Run]:
    return [run for run in every_run(GRID) if run.seed == seed]


def other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: bool = True, **chosen: list
) -> Path:
    """The archive that another machine exports, with the second seed's runs."""
    write_whole_grid(GRID, runs_of(1996), tmp_path / "other")
    return exported(tmp_path, monkeypatch, checkpoints, **chosen)


def exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: bool = True, **chosen: list
) -> Path:
    with monkeypatch.context() as there:
        there.chdir(tmp_path / "other")
        export(GRID, tmp_path / "other.zip", checkpoints, **chosen)
    return tmp_path / "other.zip"


def test_the_runs_of_a_grid_are_those_of_the_keys_too() -> None:
    assert {run.method for run in every_run(GRID)} == {"starprompt", "finetune", FIRST_STAGE}


def test_a_grid_run_on_two_machines_becomes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole_grid(GRID, runs_of(1993), Path())
    archive = other_machine(tmp_path, monkeypatch)
    new, known = merge(GRID, archive, "big-machine")
    assert (len(new), known) == (3, 0)
    for run in every_run(GRID):
        assert has_all_files(GRID.run_folder(run))
        assert origin_of(GRID.run_folder(run)) == ("big-machine" if run.seed == 1996 else "")
    assert merge(GRID, archive, "big-machine") == ([], 3), "a second time changes nothing"
    assert not list(Path("results/imported").glob(".incoming*"))


def test_the_same_run_made_twice_is_named_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole_grid(GRID, [Run("digits", "finetune", 1996)], Path(), skill=0.5)
    archive = other_machine(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"small/digits/finetune/seed1996.*trained twice"):
        merge(GRID, archive, "big-machine")
    assert not (GRID.run_folder(Run("digits", "starprompt", 1996)) / RECORD).exists()


def test_an_import_is_labelled_and_touches_no_run_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = other_machine(tmp_path, monkeypatch, checkpoints=False)
    new, known = import_archive(archive, "a-colleague")
    assert (len(new), known) == (3, 0)
    assert {origin for origin, _, _ in imported_runs(Path("results"))} == {"a-colleague"}
    assert all(origin_of(folder) == "a-colleague" for folder in new)
    assert not Path("results/runs").exists()
    assert import_archive(archive, "a-colleague") == ([], 3)


def test_another_import_with_other_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = other_machine(tmp_path, monkeypatch, checkpoints=False)
    import_archive(archive, "a-colleague")
    before = (
        Path("results/imported/a-colleague/small/digits/finetune/seed1996") / RECORD
    ).read_bytes()
    shutil.rmtree(tmp_path / "other" / "results")
    write_whole_grid(GRID, runs_of(1996), tmp_path / "other", skill=0.3)
    archive = exported(tmp_path, monkeypatch, checkpoints=False)
    with pytest.raises(UserError, match=r"with other contents: .*digits/finetune/seed1996"):
        import_archive(archive, "a-colleague")
    after = (
        Path("results/imported/a-colleague/small/digits/finetune/seed1996") / RECORD
    ).read_bytes()
    assert after == before


@pytest.mark.parametrize("name", ["", "A Colleague", "../up", ".hidden", "x" * 101])
def test_an_origin_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    archive = other_machine(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="is no name"):
        import_archive(archive, name)


def test_no_origin_is_called_as_the_runs_made_here_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = other_machine(tmp_path, monkeypatch, checkpoints=True)
    with pytest.raises(UserError, match="of runs made here; choose another name"):
        import_archive(archive, "here")
    with pytest.raises(UserError, match="of runs made here; choose another name"):
        merge(GRID, archive, "here")
    assert not Path("results/imported").exists()


def test_a_merge_needs_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = other_machine(tmp_path, monkeypatch, checkpoints=False)
    with pytest.raises(UserError, match="exported with --checkpoints"):
        merge(GRID, archive, "big-machine")


def test_a_merge_takes_no_run_that_the_experiment_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = other_machine(tmp_path, monkeypatch)
    fewer = GRID.model_copy(update={"seeds": [1993]})
    with pytest.raises(UserError, match="seed1996 is no run of small"):
        merge(fewer, archive, "big-machine")


def test_a_merge_takes_no_other_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole_grid(GRID, runs_of(1996), tmp_path / "other")
    folder = tmp_path / "other" / GRID.run_folder(Run("digits", "finetune", 1996))
    record = read_record(folder / RECORD)
    name = next(iter(record.method.hyperparameters))
    record.method.hyperparameters[name] = 12345
    write_record(folder / RECORD, record)
    archive = exported(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=f"finetune on digits, seed 1996.*{name} is 12345"):
        merge(GRID, archive, "big-machine")
    assert not Path("results/runs").exists()


def test_keys_must_be_those_of_the_first_stage_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other machine's first stage is left out; the one here left other keys."""
    write_whole_grid(GRID, [Run("digits", FIRST_STAGE, 1996)], Path(), skill=0.5)
    archive = other_machine(tmp_path, monkeypatch, methods=["starprompt"])
    with pytest.raises(UserError, match=f"keys that the run of {FIRST_STAGE}"):
        merge(GRID, archive, "big-machine")


def test_a_run_trained_here_later_is_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = other_machine(tmp_path, monkeypatch)
    merge(GRID, archive, "big-machine")
    folder = GRID.run_folder(Run("digits", "finetune", 1996))
    record = read_record(folder / RECORD)
    write_record(folder / RECORD, record.model_copy(update={"attempts": 2}))
    assert origin_of(folder) == ""


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="None of the requested runs of small"):
        export(GRID, tmp_path / "a.zip")
