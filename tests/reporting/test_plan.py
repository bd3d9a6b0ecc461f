"""Imported runs fill the gaps of an experiment's tables where they are what it asks for."""

from pathlib import Path

import pandas as pd
import pytest

from starprompt.config.experiment import Config, Run
from starprompt.errors import UserError
from starprompt.grid.records import export, import_archive
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import RECORD
from starprompt.reporting.paper import make_tables
from starprompt.reporting.plan import finished_runs
from tests.helpers.paths import REPOSITORY
from tests.helpers.whole_runs import write_whole_grid

CONFIG = Config(
    name="small", title="Small", datasets=["digits"], methods=["finetune"], seeds=[1993, 1996]
)
THEIRS = Run("digits", "finetune", 1996)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(tmp_path)
    write_whole_grid(CONFIG, [THEIRS], tmp_path)


def imported(tmp_path: Path) -> Path:
    """The other seed's run, exported, gone from here, and imported under a name."""
    export(CONFIG, tmp_path / "a.zip")
    CONFIG.runs_folder.rename(tmp_path / "gone")
    (folder,), _ = import_archive(tmp_path / "a.zip", "a-colleague")
    write_whole_grid(CONFIG, [Run("digits", "finetune", 1993)], tmp_path)
    return folder


def test_an_imported_run_fills_a_gap_under_its_origin(tmp_path: Path) -> None:
    imported(tmp_path)
    found = finished_runs(CONFIG)
    assert len(found.records) == 2
    assert found.origins == {THEIRS: "a-colleague"}
    config = tmp_path / "small.yaml"
    config.write_text(
        "{name: small, title: Small, datasets: [digits], methods: [finetune], seeds: [1993, 1996]}"
    )
    make_tables(config)
    assert "seed 1996 from a-colleague" in Path("results/small/tables/accuracy.md").read_text()
    runs = pd.read_csv("results/small/tables/runs.csv").set_index("seed")
    assert runs["origin"].to_dict() == {1993: "here", 1996: "a-colleague"}


def test_a_run_of_another_configuration_stays_out_and_is_named(tmp_path: Path) -> None:
    folder = imported(tmp_path)
    record = read_record(folder / RECORD)
    record.extra["precision"] = "bf16"
    write_record(folder / RECORD, record)
    found = finished_runs(CONFIG)
    assert len(found.records) == 1
    assert "a-colleague is of another configuration" in found.missing[THEIRS]


def test_a_damaged_imported_record_is_named(tmp_path: Path) -> None:
    folder = imported(tmp_path)
    (folder / RECORD).write_text("{}")
    with pytest.raises(UserError, match="imported/a-colleague"):
        finished_runs(CONFIG)
