"""Notes of origin: damaged ones and paths are refused."""

import json
from pathlib import Path

import pytest

from starprompt.config.experiment import Run
from starprompt.errors import UserError
from starprompt.files import SEAL, sealed, sha256_file
from starprompt.record.listing import listed
from starprompt.record.origins import NOTE, origin_of, shown_origin, write_origin
from starprompt.record.run_files import RECORD
from tests.helpers.paths import REPOSITORY
from tests.helpers.record_runs import GRID
from tests.helpers.whole_runs import write_whole_run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders stand for two machines; a test begins on the first."""
    for machine in ("one", "other"):
        (tmp_path / machine).mkdir()
        (tmp_path / machine / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path / "one")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"origin": "x"}', "[" * 100_000])
def test_a_damaged_note_of_origin_is_named(tmp_path: Path, text: str) -> None:
    write_whole_run(GRID, Run("digits", "finetune", 1996), tmp_path / "run")
    (tmp_path / "run" / NOTE).write_text(text)
    with pytest.raises(UserError, match=NOTE):
        origin_of(tmp_path / "run")


def test_a_note_with_a_path_as_origin_is_refused(tmp_path: Path) -> None:
    write_whole_run(GRID, Run("digits", "finetune", 1996), tmp_path / "run")
    value = {"origin": "../up", "record": "", "archive": ""}
    (tmp_path / "run" / NOTE).write_text(json.dumps(sealed(value)))
    assert SEAL in (tmp_path / "run" / NOTE).read_text()
    with pytest.raises(UserError, match="no name"):
        origin_of(tmp_path / "run")


def test_no_origin_is_called_as_the_runs_made_here_are(tmp_path: Path) -> None:
    write_whole_run(GRID, Run("digits", "finetune", 1996), tmp_path / "run")
    with pytest.raises(UserError, match="what lists and tables show of runs made here"):
        write_origin(tmp_path / "run", "here", "0" * 64)
    assert origin_of(tmp_path / "run") == ""
    assert [shown_origin(o) for o in ("", "lab-b")] == ["here", "lab-b"]


def test_an_origin_of_that_name_from_an_earlier_version_is_distinguished(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_whole_run(GRID, Run("digits", "finetune", 1996), folder)
    value = {"origin": "here", "record": sha256_file(folder / RECORD), "archive": ""}
    (folder / NOTE).write_text(json.dumps(sealed(value)))
    assert origin_of(folder) == "here"
    assert [row.origin for row in listed([folder])] == ["here (imported)"]
