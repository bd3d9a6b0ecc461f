"""Tables of the ablations: whole in every form, with difference and interval."""

import re
from pathlib import Path

import pandas as pd

from paper_figures.analyses import Analyses
from paper_figures.tables import ablations as ablation_tables
from paper_figures.tables.forms import FORMS, to_latex, to_markdown


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
