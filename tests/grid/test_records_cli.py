"""`starprompt records`: what each command says of the runs that it wrote, took or compared."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.config.experiment import Run
from starprompt.errors import UserError
from starprompt.grid.records_cli import app
from tests.helpers.paths import REPOSITORY
from tests.helpers.record_runs import GRID
from tests.helpers.whole_runs import write_whole_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of fine-tuning under results/, in a folder with the shipped configuration."""
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(GRID.model_dump_json())
    for seed in GRID.seeds:
        folder = tmp_path / f"results/runs/small/digits/finetune/seed{seed}"
        write_whole_run(GRID, Run("digits", "finetune", seed), folder)
    return tmp_path


def _run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_what_is_exported_is_imported_once(runs: Path) -> None:
    assert "wrote a.zip: 2 runs" in _run("export", "a.zip", "--config", "small.yaml")
    said = _run("import", "a.zip", "--origin", "lab")
    assert "2 new runs under results/imported/lab; 0 were there already" in said
    assert "0 new runs under results/imported/lab; 2 were there already" in _run(
        "import", "a.zip", "--origin", "lab"
    )


def test_an_export_can_be_of_some_seeds(runs: Path) -> None:
    said = _run("export", "a.zip", "--config", "small.yaml", "--seed", "1996")
    assert "1 runs" in said


def test_a_list_has_a_line_for_each_run(runs: Path) -> None:
    text = _run("list")
    assert [line.split()[4] for line in text.splitlines() if line.startswith("here")] == [
        "1993",
        "1996",
    ]


def test_an_export_of_nothing_is_refused(runs: Path) -> None:
    with pytest.raises(UserError):
        _run("export", "a.zip", "--config", "small.yaml", "--method", "starprompt")
    assert not (runs / "a.zip").exists()
