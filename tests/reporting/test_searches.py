"""The table of searches: what was tried, and accuracies with own and with searched values."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from starprompt.config import methods as config_module
from starprompt.config import tuned
from starprompt.config.experiment import Config, load_config
from starprompt.config.methods import load_method
from starprompt.reporting import searches
from tests.helpers.paths import REPOSITORY


def kept(folder: Path, method: str, **best: Any) -> None:
    found = tuned.Searched(
        budget=3,
        tasks=2,
        validation=0.2,
        seed=7,
        ranges={"lr": {"low": 0.001, "high": 0.1, "log": True}, "epochs": {"choices": [5, 10]}},
        own_accuracy=50.0,
        best_accuracy=61.25,
        best=best,
    )
    (folder / "digits").mkdir(parents=True, exist_ok=True)
    (folder / "digits" / f"{method}.json").write_text(found.model_dump_json())


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """LwF and fine-tuning on the digits, NCM beside them; runs of the first two are pretended."""
    monkeypatch.setattr(config_module, "METHODS", REPOSITORY / "config" / "methods")
    monkeypatch.setattr(tuned, "KEPT", tmp_path / "kept")
    monkeypatch.chdir(tmp_path)
    found = {"lwf": [40.0, 42.0], "lwf-searched": [50.0, 54.0], "finetune": [20.0]}

    def read(path: Path) -> Any:
        *_, method, seed, _ = path.parts
        accuracy = found[method][int(seed.removeprefix("seed"))]
        return SimpleNamespace(metrics=SimpleNamespace(final_average_accuracy=accuracy))

    monkeypatch.setattr(searches, "read_record", read)
    monkeypatch.setattr(searches, "unlike", lambda grid, record, earlier: None)
    config = load_config(
        {
            "name": "fake",
            "title": "t",
            "datasets": ["digits"],
            "methods": ["lwf", "finetune", "ncm"],
            "seeds": [0, 1],
            "values": "both",
        }
    )
    for method, accuracies in found.items():
        for seed, _ in enumerate(accuracies):
            folder = config.runs_folder / "digits" / method / f"seed{seed}"
            folder.mkdir(parents=True)
            (folder / "record.json").touch()
    return config


def test_own_and_searched_values_stand_side_by_side(config: Config, tmp_path: Path) -> None:
    assert searches.searches_table(config) is None
    kept(tmp_path / "kept", "lwf", lr=0.002, epochs=5)
    table = searches.searches_table(config)
    assert table is not None
    cells = table.cells.set_index("Method")
    lwf = cells.loc["LwF"]
    assert lwf["Searched"] == "lr 0.001 to 0.1; epochs of 5, 10"
    assert lwf["Found"] == "lr 0.002, epochs 5"
    assert (lwf["First trial [%]"], lwf["Best trial [%]"]) == ("50.0", "61.2")
    assert (lwf[searches.OWN], lwf[searches.FOUND]) == ("41.0 ± 1.4", "52.0 ± 2.8")
    tuned_by_nobody = cells.loc[load_method("finetune").title]
    assert tuned_by_nobody["Searched"] == "not searched"
    assert tuned_by_nobody[searches.OWN] == "20.0"
    assert tuned_by_nobody[searches.FOUND] == tuned_by_nobody["Found"]  # a dash
    assert load_method("ncm").title not in cells.index
    notes = " ".join(table.notes)
    assert "3 trials each on the first 2 tasks in the class order of seed 7" in notes
    assert f"Nothing to search: {load_method('ncm').title}." in notes


def test_runs_that_are_not_the_experiment_s_any_more_are_left_out(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlike(grid: Any, record: Any, earlier: bool) -> str | None:
        return "lr is 1, not 2" if record.metrics.final_average_accuracy == 54.0 else None

    monkeypatch.setattr(searches, "unlike", unlike)
    kept(tmp_path / "kept", "lwf", lr=0.002, epochs=5)
    table = searches.searches_table(config)
    assert table is not None
    lwf = table.cells.set_index("Method").loc["LwF"]
    assert (lwf[searches.OWN], lwf[searches.FOUND]) == ("41.0 ± 1.4", "50.0")


def test_values_that_stay_have_one_run(config: Config, tmp_path: Path) -> None:
    own = load_method("finetune").resolve("digits")
    kept(tmp_path / "kept", "finetune", lr=own["lr"], epochs=own["epochs"])
    table = searches.searches_table(config)
    assert table is not None
    row = table.cells.set_index("Method").loc[load_method("finetune").title]
    assert row[searches.OWN] == row[searches.FOUND] == "20.0"


def test_only_values_of_earlier_searches_are_named_under_tables(
    config: Config, tmp_path: Path
) -> None:
    specs = [load_method(name) for name in ("lwf", "ncm", "starprompt")]
    (earlier,) = searches.search_notes("digits", specs)
    assert earlier == (
        "The files of STAR-Prompt hold values that an earlier search on Handwritten digits chose, "
        "trials not kept."
    )
    kept(tmp_path / "kept", "lwf", lr=0.002, epochs=5)
    note, _ = searches.search_notes("digits", specs)
    assert note.startswith("Searched on Handwritten digits, 3 trials each")
    assert "LwF (lr, epochs)" in note
