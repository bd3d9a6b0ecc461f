"""Findings answer every question with the tables' numbers, and follow them."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from paper_figures.analyses import Analyses
from paper_figures.pages import findings


def test_findings_answer_every_question_with_the_tables_numbers(analyses: Analyses) -> None:
    text = findings.findings(analyses, ["A limit."])
    assert "- A limit." in text and "nan" not in text.lower()
    for title in ("Are the keys stable?", "How many Gaussians?", "Residual or prefix?"):
        assert f"## {title}" in text
    drift = analyses.table("key-drift", "set-0")
    free = drift[drift["method"] == "starprompt-learned-keys"]
    last = free[free["after_task"] == 2]
    assert f"turned by {last['drift'].mean():.3f}" in text
    assert "Data set 1." in text


def test_titles_are_no_markup(analyses: Analyses) -> None:
    plan = analyses.plan
    methods = tuple(replace(method, title="a <b> | c") for method in plan.methods)
    datasets = tuple(replace(dataset, title="d <i> | e") for dataset in plan.datasets)
    named = replace(plan, title="f <u>", methods=methods, datasets=datasets)
    text = findings.findings(replace(analyses, plan=named), ["On d <i> | e."])
    assert not re.search(r"(?<!\\)<[biu]", text) and r"On d \<i\> \| e." in text


def test_findings_follow_the_numbers(analyses: Analyses, tmp_path: Path) -> None:
    """Where keys that learn on choose as well as frozen ones, the page says so."""
    folder = tmp_path / "set-0"
    folder.mkdir()
    for path in (analyses.folder / "set-0").iterdir():
        frame = pd.read_csv(path)
        if path.stem == "selection":
            frame["right_task"] = 0.9
        frame.to_csv(folder / path.name, index=False)
    before = findings._keys(analyses, "set-0")
    after = findings._keys(Analyses(analyses.plan, "starprompt", tmp_path), "set-0")
    assert "much steadier" in before
    assert "Freezing the keys makes little difference here" in after
