"""Findings answer every question with the tables' numbers, and follow them."""

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from paper_figures.analyses import Analyses
from paper_figures.figures.costs import clip_space
from paper_figures.pages import findings
from paper_figures.style import paper_style
from paper_figures.tables.ablations import TABLES, injection_table
from paper_figures.tables.forms import to_markdown
from starprompt.analysis import report
from starprompt.config.thresholds import Thresholds
from tests.helpers import fake_ablations


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


@pytest.mark.parametrize(
    ("finished", "said"),
    [
        ([("starprompt", 1993)], ["No variant has a run of a seed", "No run of the first stage"]),
        (
            [("starprompt", 1993), ("starprompt-prefix", 1996), ("starprompt-gaussian", 1993)],
            [
                "Not compared, for want of a seed in common: “Starprompt-prefix”. Of 1 variants",
                "they have no seed in common that would compare them",
            ],
        ),
    ],
)
def test_findings_of_few_runs_say_what_they_lack(
    tmp_path: Path, finished: list[tuple[str, int]], said: list[str]
) -> None:
    plan = fake_ablations.fake_runs(tmp_path / "runs", seeds=2)
    for method in fake_ablations.METHODS:
        for seed in plan.seeds:
            if (method, seed) not in finished:
                (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    tables = report.analyse(
        plan.runs / "set-0", fake_ablations.METHODS[:-1], plan.seeds, "starprompt",
        "clip-zero-shot", Thresholds(),
    )  # fmt: skip
    tables["missing-variants"] = pd.DataFrame(
        [(m.name, s, "failed | <b>") for m in plan.methods for s in plan.seeds
         if (m.name, s) not in finished],
        columns=["method", "seed", "why"],
    )  # fmt: skip
    report.write_tables(tables, tmp_path / "analysis" / "set-0")
    analyses = Analyses(plan, "starprompt", tmp_path / "analysis")
    text = findings.findings(analyses, [])
    assert "nan" not in text.lower()
    for sentence in said:
        assert sentence in text
    assert r"Runs that are missing: Starprompt (1: failed \| \<b\>); " in text
    assert (
        "Runs that are missing: Starprompt (1: failed | <b>); "
        in injection_table(analyses).notes[-1]
    )
    for table in TABLES.values():
        assert "nan" not in to_markdown(table(analyses)).lower()
    with paper_style():
        clip_space(analyses).draw_without_rendering()


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
