"""Imported runs fill the gaps of an experiment's tables where they are what it asks for."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from starprompt.config.experiment import Config, Run
from starprompt.errors import UserError
from starprompt.grid.records import export, import_archive
from starprompt.grid.status import experiment_status
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import RECORD
from starprompt.reporting.paper import make_tables
from starprompt.reporting.plan import finished_runs, missing_runs, other_runs
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


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"hyperparameters": {"epochs": 77}}])
def test_a_run_made_before_the_experiment_changed_stays_out_and_is_named(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    write_whole_grid(CONFIG, [Run("digits", "finetune", 1993)], tmp_path)
    path = CONFIG.run_folder(THEIRS) / RECORD
    record = read_record(path)
    record.method.hyperparameters |= change.get("hyperparameters", {})
    record.extra |= {name: value for name, value in change.items() if name == "precision"}
    write_record(path, record)
    found = finished_runs(CONFIG)
    assert list(found.records) == [("digits", "finetune", 1993)]
    why = found.missing[THEIRS]
    assert why.startswith("of another configuration: ")
    assert "is 'bf16', not 'float32'" in why or "is 77, not " in why
    (status,) = [s for s in experiment_status(CONFIG) if s.run == THEIRS]
    assert status.state == "finished"
    assert "of another configuration, to be trained again" in status.about
    other = CONFIG.model_copy(update={"precision": "tf32"})
    with pytest.raises(UserError, match=r"None of the 2 runs .* of another configuration"):
        finished_runs(other)


def test_analyses_leave_out_runs_made_before_the_experiment_changed(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"ablations": ["finetune"]})
    write_whole_grid(config, [Run("digits", "finetune", 1993)], tmp_path)
    assert other_runs(config, "digits") == {}
    changed = config.model_copy(update={"precision": "bf16"})
    others = other_runs(changed, "digits")
    assert set(others) == {("finetune", 1993), ("finetune", 1996)}
    rows = missing_runs(changed, "digits", ["finetune"], others)
    assert [(method, seed) for method, seed, _ in rows] == [("finetune", 1993), ("finetune", 1996)]
    assert all("precision is 'float32', not 'bf16'" in why for _, _, why in rows)
