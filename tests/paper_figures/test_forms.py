"""One table in its four forms: what stands out, and that no text of data is taken for markup."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_figures.collect import collect
from paper_figures.plan import DatasetColumn, MethodRow, Plan
from paper_figures.tables import escape, forms, paper
from paper_figures.tables.table import Table, number, ranked
from tests.helpers import fake_results

#: titles and notes that want to be more than text
HOSTILE = [
    "=HYPERLINK(\"http://evil\")",
    "+1", "-1+2", "@SUM(A1)", "\t=1",
    "[click](http://evil)", "![x](http://evil/y.png)", "[a]: http://evil", "&lt;b&gt;",
    "<script>alert(1)</script>", "a|b", "line\nbreak", "https://evil.example www.evil.example",
    r"\input{/etc/passwd}", "$x_1^2$", "100% & {more} #1 ~ \\", "**bold** `code` _it_",
    "# heading", "- item", "1. item", "− ≥ ü 方法 & %",
]  # fmt: skip


def table_of(texts: list[str]) -> Table:
    cells = pd.DataFrame({"Method": texts, "Value": [str(i) for i in range(len(texts))]})
    numbers = pd.DataFrame({"title": texts, "value": [-1.5 * i for i in range(len(texts))]})
    return Table("t", texts[0], cells, numbers, texts)


def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers() -> None:
    rows = list(csv.reader(io.StringIO(forms.to_csv(table_of(HOSTILE)))))
    assert len(rows) == len(HOSTILE) + 1
    for title, value in rows[1:]:
        assert not title.lstrip().startswith(("=", "+", "-", "@"))
        float(value)
    assert rows[2][1] == "-1.5"


@given(st.text())
def test_a_title_is_one_line_of_text_in_every_form(text: str) -> None:
    for to in (escape.escape_markdown, escape.escape_latex, escape.escape_html):
        assert len(to(text).splitlines()) <= 1
    assert not re.search(r"[<>\"']", escape.escape_html(text))
    assert not re.search(r"(?<!\\)<", escape.escape_markdown(text))


def test_markdown_shows_hostile_text_as_it_is() -> None:
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).enable("table")
    page = reader.render(forms.to_markdown(table_of(HOSTILE)))
    assert not re.search(r"<(a|img|script|em|code|h1|ol)\b", page)
    assert page.count("<td") == 2 * len(HOSTILE)
    assert page.count("<ul>") == 1 and page.count("<li>") == len(HOSTILE)
    for text in HOSTILE:
        assert escape.escape_html(text).strip().replace("&#x27;", "'") in page.replace(
            "&quot;", "&quot;"
        )


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_shows_hostile_text_as_it_is() -> None:
    reader = _Texts()
    reader.feed(forms.to_html(table_of(HOSTILE)))
    assert reader.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    for text in HOSTILE:
        assert escape.one_line(text) in reader.texts


def hostile_plan(folder: Path) -> Plan:
    plan = fake_results.fake_plan(folder, methods=4, datasets=3, seeds=2)
    titles = ["− ≥ ü 方法 & %", HOSTILE[13], HOSTILE[15]]
    rows = [replace(row, title=title) for row, title in zip(plan.methods, titles, strict=False)]
    zero = MethodRow("method-1", titles[1], "Learns nothing.", zero_shot=True)
    return replace(
        plan,
        methods=(rows[0], zero, rows[2], plan.methods[3]),
        datasets=(
            DatasetColumn("set-0", "Data_set 0", "Natural images"),
            DatasetColumn("set-1", "Data set & 1", "Specialised images"),
            DatasetColumn("set-2", "Data set 2", "Natural images"),
        ),
        notes=("100% of it.",),
    )


def test_blocks_and_domains_stand_apart(tmp_path: Path) -> None:
    plan = hostile_plan(tmp_path)
    fake_results.write_fake_runs(plan)
    table = paper.accuracy_table(collect(plan))
    assert list(table.cells["Method"])[2:] == [HOSTILE[13], "Joint (all tasks at once)"]
    assert table.rules == {2, 3}
    headings = ["Method", "Data_set 0", "Data set 2", "Data set & 1", "Average"]
    assert list(table.cells.columns) == headings
    assert table.spans == [("", 1), ("Natural images", 2), ("Specialised images", 1), ("", 1)]
    assert all(row < 2 for row, _ in table.best | table.second)
    latex = forms.to_latex(table, "x")
    assert r"\multicolumn{2}{c}{Natural images}" in latex and r"\cmidrule(lr){2-3}" in latex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_pdflatex_compiles_the_tables_and_the_appendix(tmp_path: Path) -> None:
    plan = hostile_plan(tmp_path / "runs")
    fake_results.write_fake_runs(plan)
    (plan.run_folder("set-0", "method-0", 1993) / "record.json").unlink()
    found = collect(plan)
    paths = [path for path in paper.write_tables(found, tmp_path) if path.suffix == ".tex"]
    (tmp_path / "hostile.tex").write_text(forms.to_latex(table_of(HOSTILE), "hostile"))
    inputs = "\n".join(rf"\input{{{path.name}}}" for path in [*paths, Path("hostile.tex")])
    (tmp_path / "main.tex").write_text(
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage[T1]{fontenc}\n"
        f"\\usepackage{{booktabs}}\n\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "main.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("values", "best", "second"),
    [
        ([2.675, 2.674, 1.0], {0, 1}, set()),  # both are written 2.67 in binary: both are best
        ([2.675, 2.68, 1.0], {1}, {0}),
        ([3.0, 2.0, 2.0], {0}, {1, 2}),
        ([3.0, 2.0], {0}, set()),
        ([3.0], set(), set()),
    ],
)
def test_what_stands_out_follows_the_numbers_as_written(
    values: list[float], best: set[int], second: set[int]
) -> None:
    shown = {row: number(value, 2) for row, value in enumerate(values)}
    assert ranked(shown, highest=True) == (best, second)


def test_equal_cells_are_bold_alike(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=3, seeds=1)
    fake_results.write_fake_runs(plan)
    for method, value in [("method-0", 2.675), ("method-1", 2.674)]:
        matrix = [[50.0 if i <= t else None for i in range(5)] for t in range(4)]
        folder = plan.run_folder("set-0", method, 1993)
        fake_results.rewrite_accuracy(folder, [*matrix, [50.0 - value] * 5])
    text = forms.to_markdown(paper.metrics_table(collect(plan), "set-0"))
    assert text.count("**2.67**") == 2


def test_notes_speak_of_emphasis_only_where_there_is_some(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=3, seeds=3)
    fake_results.write_fake_runs(plan)
    found = collect(plan)
    assert "Bold: best" in forms.to_markdown(paper.accuracy_table(found))
    cost = forms.to_markdown(paper.cost_table(found, "set-0"))
    assert "old: best" not in cost and "± 0.000" not in cost
