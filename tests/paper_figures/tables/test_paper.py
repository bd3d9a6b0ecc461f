"""The paper's tables: numbers, emphasis, blocks, footnotes and what is missing."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paper_figures.collect import Results, collect
from paper_figures.plan import DatasetColumn, MethodRow, Plan
from paper_figures.tables import forms, paper
from paper_figures.tables import paper as tables
from paper_figures.tables.forms import to_csv, to_latex, to_markdown
from starprompt.analysis.noise import RUN_COLUMNS
from starprompt.record.record import read_record, write_record
from tests.helpers import fake_results
from tests.helpers.hostile_texts import HOSTILE, table_of
from tests.helpers.made_up_runs import small_plan


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


def set_accuracy(plan: Plan, dataset: str, method: str, seed: int, value: float) -> None:
    folder = plan.run_folder(dataset, method, seed)
    *earlier, last = read_record(folder / "record.json").accuracy
    fake_results.rewrite_accuracy(folder, [*earlier, [value] * len(last)])


def test_the_csv_holds_mean_and_sample_deviation(results: Results) -> None:
    frame = pd.read_csv(io.StringIO(to_csv(tables.accuracy_table(results))))
    assert list(frame["method"]) == [m.name for m in results.plan.methods]
    for row in frame.to_dict("records"):
        values = [
            results.records["set-1", row["method"], seed].metrics.final_average_accuracy
            for seed in results.plan.seeds
        ]
        assert row["set-1"] == pytest.approx(np.mean(values))
        assert row["set-1_std"] == pytest.approx(np.std(values, ddof=1))
        assert row["set-1_seeds"] == 3


def test_the_average_deviates_as_the_seeds_averages_do(tmp_path: Path) -> None:
    """Data sets that deviate in opposite directions leave an average without deviation."""
    plan = small_plan(tmp_path, methods=2, datasets=2, seeds=2)
    for seed, first, second in [(1993, 50.0, 70.0), (1996, 70.0, 50.0)]:
        set_accuracy(plan, "set-0", "method-0", seed, first)
        set_accuracy(plan, "set-1", "method-0", seed, second)
    average = tables.accuracy_table(collect(plan)).numbers.set_index("method").loc["method-0"]
    assert average["average"] == 60
    assert average["average_std"] == 0


def test_one_data_set_has_no_average_and_one_seed_no_deviation(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=2, datasets=1, seeds=1)
    table = tables.accuracy_table(collect(plan))
    assert list(table.cells.columns) == ["Method", "Data set 0"]
    body = to_markdown(table).split("\n- ")[0]
    assert "±" not in body and "nan" not in body.lower()


def test_bold_is_the_best_but_no_bound(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=4, datasets=1, seeds=1)
    for method, value in [("method-0", 80.001), ("method-1", 80.004), ("method-2", 79.0)]:
        set_accuracy(plan, "set-0", method, 1993, value)
    set_accuracy(plan, "set-0", "joint", 1993, 99.0)
    text = to_markdown(tables.accuracy_table(collect(plan)))
    assert re.findall(r"\*\*([\d.]+)\*\*", text) == ["80.00", "80.00"]  # equal as written


def test_the_least_forgetting_is_the_best(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=3, datasets=1, seeds=1)
    for method, value in [("method-0", 4.0), ("method-1", 2.0)]:
        matrix = [[50.0 if i <= t else None for i in range(5)] for t in range(4)]
        folder = plan.run_folder("set-0", method, 1993)
        fake_results.rewrite_accuracy(folder, [*matrix, [50.0 - value] * 5])
    text = to_markdown(tables.metrics_table(collect(plan), "set-0"))
    assert "**2.00**" in text and "**4.00**" not in text
    assert "–" in text  # the joint method has no forgetting


def test_latex_has_as_many_cells_as_columns_and_no_bare_special_character(
    results: Results,
) -> None:
    for table in (tables.accuracy_table(results), tables.cost_table(results, "set-0")):
        text = to_latex(table, "label")
        assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1] * 3
        body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
        rows = [row for row in body.split("\\\\\n") if row.strip()]
        assert len(rows) == len(results.plan.methods)
        for row in rows:
            assert len(re.findall(r"(?<!\\)&", row)) == len(table.cells.columns) - 1
        assert not re.search(r"(?<!\\)[%#_]", text.removeprefix("% needs"))
        assert text.count("{") == text.count("}")


def test_footnotes_are_short_and_the_appendix_says_what_each_method_is(
    results: Results, tmp_path: Path
) -> None:
    text = to_markdown(tables.accuracy_table(results))
    assert "over 3 seeds (1993, 1996, 1997)" in text
    assert "DER++ (500 stored images)\u00a0†" in text and "† keeps images" in text
    assert len(text.split("\n- ")) == 4
    said = "".join(path.read_text() for path in tables.write_appendix(results.plan, tmp_path))
    for method in results.plan.methods:
        assert method.description not in text
        assert said.count(method.description) == 2


def test_a_missing_run_leaves_a_dash_that_says_why(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=3, datasets=2, seeds=2)
    gone = [("method-0", 1993), ("method-0", 1996), ("joint", 1996)]
    for method, seed in gone:
        (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    states = {("set-0", "method-0", 1993): "diverged", ("set-0", "method-0", 1996): "running"}
    found = collect(plan, states)
    assert set(found.missing.values()) == {"diverged", "running", "not run"}
    table = tables.accuracy_table(found)
    text = to_markdown(table)
    assert table.cells.iloc[0, 1] == table.cells.iloc[0, 3] == "–"
    assert table.marks[0, 1] == table.marks[0, 3] == "a"
    assert "- <sup>a</sup> diverged or running" in text
    assert table.cells.iloc[2, 1].endswith("(n = 1)") and "(n = 1)" in table.cells.iloc[2, 3]
    assert "n =" not in table.cells.iloc[1, 1]
    assert table.marks[2, 1] == table.marks[2, 3] == "b"
    assert "- <sup>b</sup> some runs are missing: not run" in text
    numbers = table.numbers.set_index("method")
    assert numbers.loc["method-0", "set-0_seeds"] == 0
    assert numbers.loc["joint", "average_seeds"] == 1
    assert tables.metrics_table(found, "set-0").cells.iloc[0, 1] == "–"


def test_every_reason_has_a_letter_of_its_own(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=11, datasets=3, seeds=1)
    gone = [(d.name, m.name, 1993) for d in plan.datasets for m in plan.methods[1:]]
    for key in gone:
        (plan.run_folder(*key) / "record.json").unlink()
    states = {key: f"why {number}" for number, key in enumerate(gone)}
    marks = tables.accuracy_table(collect(plan, states)).marks
    own = [marks[row, column] for column in (1, 2, 3) for row in range(1, 11)]
    assert own[:2] == ["a", "b"] and own[24:] == ["y", "z", "aa", "ab", "ac", "ad"]


def test_the_cost_table_says_what_a_method_keeps_and_whether_it_uses_clip(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=2, datasets=1, seeds=2)
    for seed in plan.seeds:
        path = plan.run_folder("set-0", "method-0", seed) / "record.json"
        record = read_record(path)
        parameters = {"trained": 10, "stored": 2000, "samples": 500, "operations": 2_500_000_000}
        clip = {"clip": {"name": "tiny", "digest": "c" * 64}}
        write_record(path, record.model_copy(update={"parameters": parameters, "backbones": clip}))
    text = to_markdown(tables.cost_table(collect(plan), "set-0"))
    with_clip, without = [
        [cell.strip() for cell in line.split("|")[2:7]]
        for line in text.splitlines()
        if line.startswith(("| STAR-Prompt", "| Joint"))
    ]
    assert with_clip == ["10", "2,000", "500", "2.500", "yes"]
    assert without == ["1,234,567", "0", "0", "–", "no"]


def test_what_rounding_does_stands_beside_the_metrics_where_it_was_measured(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=3)
    table = tables.metrics_table(collect(plan), "set-0")
    assert "Rounding" not in to_markdown(table)
    noise = tmp_path / "noise.csv"
    noise.write_text(
        "dataset,method,rounding_std,repeats,seeds_std\n"
        "set-0,method-1,0.456,3,2\nset-1,method-0,9,3,2\n",
        encoding="utf-8",
    )
    write_noise_runs(plan, noise, "method-1")
    table = tables.metrics_table(collect(replace(plan, noise=noise)), "set-0")
    frame = pd.read_csv(io.StringIO(to_csv(table))).set_index("method")
    assert frame.loc["method-1", "rounding_std"] == 0.456
    assert pd.isna(frame.loc["method-0", "rounding_std"])
    text = to_markdown(table)
    assert "Rounding [%]" in text
    assert "0.46" in text


@pytest.mark.parametrize("moved", [None, 2.0])
def test_what_rounding_does_to_other_runs_is_not_shown(tmp_path: Path, moved: float | None) -> None:
    plan = small_plan(tmp_path, methods=3)
    noise = tmp_path / "noise.csv"
    noise.write_text("dataset,method,rounding_std,repeats\nset-0,method-1,0.456,3\n")
    if moved is not None:
        write_noise_runs(plan, noise, "method-1", moved)
    text = to_markdown(tables.metrics_table(collect(replace(plan, noise=noise)), "set-0"))
    assert "0.46" not in text
    assert "measured on other runs than these" in text


def write_noise_runs(plan: Plan, noise: Path, method: str, moved: float = 0.0) -> None:
    """Rows of a method's finished runs on the first data set, in the table beside ``noise``."""
    records = collect(plan).of("set-0", method)
    rows = [
        ("set-0", method, seed, 0, record.metrics.final_average_accuracy + moved)
        for seed, record in records.items()
    ]
    runs = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    runs.to_csv(noise.with_name("noise-runs.csv"), index=False)
