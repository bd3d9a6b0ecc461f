"""Tables of the ablations: whole in every form, with difference and interval."""

import re
from pathlib import Path

import pandas as pd

from paper_figures.analyses import Analyses
from paper_figures.tables import ablations as ablation_tables
from paper_figures.tables.forms import FORMS, to_latex, to_markdown
from starprompt.analysis.report import analyse, write_tables
from starprompt.config.thresholds import Thresholds
from tests.helpers import fake_ablations


def test_every_table_is_whole_in_every_form(analyses: Analyses, tmp_path: Path) -> None:
    written = ablation_tables.write_ablation_tables(analyses, tmp_path)
    assert len(written) == len(FORMS) * len(ablation_tables.TABLES)
    for name in ablation_tables.TABLES:
        text = (tmp_path / f"{name}.md").read_text()
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) > 2 and len({row.replace("\\|", "").count("|") for row in rows}) == 1, name
        assert "nan" not in text.lower()
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) > 0
        latex = (tmp_path / f"{name}.tex").read_text()
        assert latex.count("{") == latex.count("}") and r"\midrule" in latex
        assert not re.search(r"(?<!\\)[%#_]", latex.removeprefix("% needs"))


def test_the_ablation_table_shows_difference_and_interval(analyses: Analyses) -> None:
    table = ablation_tables.ablation_table(analyses)
    assert table.cells.iloc[0, 2] == "–"  # the full method itself
    for cell in table.cells.iloc[1:, 2]:
        assert re.fullmatch(r"[+−]?[\d.]+ \[[+−]?[\d.]+, [+−]?[\d.]+\]", cell), cell
    text = to_markdown(table)
    for method in analyses.plan.methods:
        assert method.description in text
    assert r"\textminus{}" in to_latex(table, "label")


def test_a_missing_variant_is_a_dash_that_says_why(tmp_path: Path) -> None:
    plan = fake_ablations.fake_runs(tmp_path / "runs", seeds=2)
    gone = [("starprompt-prefix", 1993), ("starprompt-prefix", 1996), ("starprompt-gaussian", 1996)]
    for method, seed in gone:
        (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    methods = [m.name for m in plan.methods]
    tables = analyse(
        tmp_path / "runs" / "set-0", methods, plan.seeds, "starprompt", None, Thresholds()
    )
    tables["missing-variants"] = pd.DataFrame(
        [(*run, why) for run, why in zip(gone, ["failed", "running", "not run"], strict=True)],
        columns=["method", "seed", "why"],
    )
    write_tables(tables, tmp_path / "analysis" / "set-0")
    made = Analyses(plan, "starprompt", tmp_path / "analysis")
    text = to_markdown(ablation_tables.ablation_table(made))
    (row,) = [line for line in text.splitlines() if line.startswith("| Starprompt-prefix ")]
    assert row.count("\u2013") == 2 and "<sup>a</sup>" in row
    assert "<sup>a</sup> failed or running" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| Starprompt-gaussian ")]
    assert "(n = 1)" in row and "±" not in row
    for name in ablation_tables.TABLES:  # the other tables do without as well
        assert len(ablation_tables.TABLES[name](made).cells) > 0
