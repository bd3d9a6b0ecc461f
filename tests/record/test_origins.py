"""Notes of origin: damaged ones and paths are refused."""

import json
from pathlib import Path

import pytest

from starprompt.config.experiment import Run
from starprompt.errors import UserError
from starprompt.files import SEAL, sealed
from starprompt.record.origins import NOTE, origin_of
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
