"""The command that compares methods: what was searched, what is missing, what it writes."""

from pathlib import Path

import pytest

from paper_figures.collect import collect
from paper_figures.pages.comparison import comparison
from paper_figures.provenance import read_stamp
from starprompt.config import methods as config_module
from starprompt.config import tuned
from starprompt.config.experiment import load_config
from starprompt.grid import jobs
from starprompt.reporting import comparison as command
from tests.helpers.compared_methods import made_analyses
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY


def test_the_command_tells_what_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyses = made_analyses(tmp_path)
    monkeypatch.setattr(config_module, "METHODS", ROOT / "config" / "methods")
    monkeypatch.setattr(tuned, "KEPT", tmp_path / "kept")
    config = load_config(
        {"name": "fake", "title": "t", "datasets": ["digits"], "methods": ["lwf"], "seeds": [0]}
    )
    assert command.searches_table(config) is None
    found = tuned.Searched(
        budget=3,
        tasks=2,
        validation=0.2,
        seed=7,
        ranges={"lr": {"low": 0.001, "high": 0.1, "log": True}, "epochs": {"choices": [5, 10]}},
        own_accuracy=50.0,
        best_accuracy=61.25,
        best={"lr": 0.002, "epochs": 5},
    )
    (tmp_path / "kept" / "digits").mkdir(parents=True)
    (tmp_path / "kept" / "digits" / "lwf.json").write_text(found.model_dump_json())
    table = command.searches_table(config)
    assert table is not None
    page = comparison(analyses, [], table, {})
    assert "lr 0.001 to 0.1; epochs of 5, 10" in page
    assert "lr 0.002, epochs 5" in page
    assert "3 trials a method on the first 2 tasks, in the class order of seed 7" in page


def test_runs_that_are_missing_are_named_and_left_out(tmp_path: Path) -> None:
    analyses = made_analyses(tmp_path)
    plan = analyses.plan
    for method, seed in [("best", 0), ("best", 1), ("joint", 1)]:
        (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    found = collect(plan, {("set-0", "best", 0): "diverged"})
    command._measure(found, analyses.folder)
    page = comparison(analyses, [], None, {})
    assert "Runs that are missing: Best (2: diverged, not run); Joint" in page
    assert "The best continual method is Prompted (50.0%)." in page
    cost = page.partition("## What they cost")[2]
    assert "| Best" in cost and "(n = 1)" in cost


def test_the_command_writes_tables_and_page_under_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyses = made_analyses(tmp_path / "runs")
    found = collect(analyses.plan)
    monkeypatch.setattr(command, "finished_runs", lambda _: found)
    monkeypatch.setattr(command, "depends", lambda *_: {"best": "d"})
    config = load_config(
        {"name": "fake", "title": "t", "datasets": ["digits"], "methods": ["lwf"], "seeds": [0]}
    )
    monkeypatch.setattr(command, "load_config", lambda _: config)
    written = command.make_comparison(Path("fake.yaml"), tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {
        *(f"fake/analysis/set-0/{name}.csv" for name in jobs.COMPARISON),
        *(f"fake/analysis/{name}.csv" for name in jobs.STATISTICS),
        *(
            f"fake/comparison/{name}.{form}"
            for name in jobs.STATISTICS_TABLES
            for form in jobs.TABLE_FORMS
        ),
        *(
            f"fake/comparison/{name}.{form}"
            for name in jobs.STATISTICS_FIGURES
            for form in jobs.FIGURE_FORMS
        ),
        "fake/findings.md",
    }
    text = (tmp_path / "fake/findings.md").read_text()
    made_from = read_stamp(text)
    assert made_from is not None and made_from.runs == 8
    assert made_from.depends == {"best": "d"}
    assert f"digest `{made_from.records[:12]}`" in text
    assert found.plan.methods[0].title == made_from.titles["best"]
    assert "## Are the differences real?" in text
