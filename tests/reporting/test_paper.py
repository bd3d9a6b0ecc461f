"""Tables and figures of an experiment under its name; what a killed process left goes first."""

from pathlib import Path

import pytest

from starprompt.config.experiment import Run
from starprompt.errors import UserError
from starprompt.reporting.paper import make_figures, make_tables
from tests.helpers.paths import REPOSITORY
from tests.helpers.record_runs import GRID
from tests.helpers.whole_runs import write_whole_run


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(GRID.model_dump_json())
    return path


@pytest.mark.parametrize("make", [make_tables, make_figures])
def test_without_a_finished_run_there_is_nothing_to_make(make: object, config: Path) -> None:
    with pytest.raises(UserError):
        make(config)  # type: ignore[operator]
    assert not Path("results/small/tables").exists()


@pytest.mark.parametrize(("make", "kind"), [(make_tables, "tables"), (make_figures, "figures")])
def test_files_stand_under_the_experiments_name_without_remains(
    make: object, kind: str, config: Path
) -> None:
    for seed in GRID.seeds:
        folder = Path(f"results/runs/small/digits/finetune/seed{seed}")
        write_whole_run(GRID, Run("digits", "finetune", seed), folder)
    folder = Path("elsewhere/small") / kind
    folder.mkdir(parents=True)
    (folder / ".accuracy.md.123.part").touch()
    (folder / "mine.txt").touch()
    paths = make(config, Path("elsewhere"))  # type: ignore[operator]
    assert paths
    assert {path.parent for path in paths} == {folder}
    assert all(path.stat().st_size for path in paths)
    assert sorted(folder.glob(".*")) == []
    assert (folder / "mine.txt").exists()
    if kind == "tables":
        text = (folder / "accuracy.md").read_text()
        assert "Fine-tuning" in text
