"""The command that compares methods: what was searched, what is missing, what it writes."""

from pathlib import Path

import pytest

from paper_figures.collect import collect
from paper_figures.pages.comparison import comparison
from paper_figures.provenance import read_stamp
from starprompt.config.experiment import load_config
from starprompt.grid import jobs
from starprompt.reporting import comparison as command
from tests.helpers.compared_methods import made_analyses
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY


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
