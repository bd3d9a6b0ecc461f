"""Tables and figures from made-up result folders."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from paper_figures.collect import Results, collect
from paper_figures.figures import curves, selection
from paper_figures.figures.paper import KINDS, write_figures
from paper_figures.plan import Plan
from paper_figures.style import paper_style
from paper_figures.tables import paper as tables
from paper_figures.tables.escape import escape_latex
from paper_figures.tables.forms import to_csv, to_latex, to_markdown
from starprompt.analysis import prompt_choices
from starprompt.errors import UserError
from starprompt.record.record import read_record, write_record
from tests.helpers import fake_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two data sets, thirteen methods with awkward titles, three seeds."""
    plan = fake_results.fake_plan(tmp_path_factory.mktemp("runs"), methods=13, datasets=2)
    fake_results.write_fake_runs(plan)
    return collect(plan)


def small(folder: Path, **sizes: int) -> Plan:
    plan = fake_results.fake_plan(folder, **sizes)
    fake_results.write_fake_runs(plan)
    return plan


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
    plan = small(tmp_path, methods=2, datasets=2, seeds=2)
    for seed, first, second in [(1993, 50.0, 70.0), (1996, 70.0, 50.0)]:
        set_accuracy(plan, "set-0", "method-0", seed, first)
        set_accuracy(plan, "set-1", "method-0", seed, second)
    average = tables.accuracy_table(collect(plan)).numbers.set_index("method").loc["method-0"]
    assert average["average"] == 60
    assert average["average_std"] == 0


def test_one_data_set_has_no_average_and_one_seed_no_deviation(tmp_path: Path) -> None:
    plan = small(tmp_path, methods=2, datasets=1, seeds=1)
    table = tables.accuracy_table(collect(plan))
    assert list(table.cells.columns) == ["Method", "Data set 0"]
    body = to_markdown(table).split("\n- ")[0]
    assert "±" not in body and "nan" not in body.lower()


def test_bold_is_the_best_but_no_bound(tmp_path: Path) -> None:
    plan = small(tmp_path, methods=4, datasets=1, seeds=1)
    for method, value in [("method-0", 80.001), ("method-1", 80.004), ("method-2", 79.0)]:
        set_accuracy(plan, "set-0", method, 1993, value)
    set_accuracy(plan, "set-0", "joint", 1993, 99.0)
    text = to_markdown(tables.accuracy_table(collect(plan)))
    assert re.findall(r"\*\*([\d.]+)\*\*", text) == ["80.00", "80.00"]  # equal as written


def test_the_least_forgetting_is_the_best(tmp_path: Path) -> None:
    plan = small(tmp_path, methods=3, datasets=1, seeds=1)
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


@given(st.text())
def test_escaped_latex_has_no_bare_special_character(text: str) -> None:
    bare = re.sub(r"\\(text\w+\{\}|[&%$#_{}])|\$\\\w+\$", "", escape_latex(text))
    assert not re.search(r"[&%$#_{}^\\]", bare)


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
    plan = small(tmp_path, methods=3, datasets=2, seeds=2)
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
    numbers = table.numbers.set_index("method")
    assert numbers.loc["method-0", "set-0_seeds"] == 0
    assert numbers.loc["joint", "average_seeds"] == 1
    assert tables.metrics_table(found, "set-0").cells.iloc[0, 1] == "–"


def test_figures_leave_out_what_is_missing(tmp_path: Path) -> None:
    plan = small(tmp_path / "runs", methods=3, datasets=2, seeds=1)
    for method in plan.methods:
        (plan.run_folder("set-1", method.name, 1993) / "record.json").unlink()
    (plan.run_folder("set-0", "method-0", 1993) / "record.json").unlink()
    written = write_figures(collect(plan), tmp_path / "figures")
    assert len(written) == 2 * 2 * len(KINDS) and all(path.stat().st_size for path in written)


def test_many_missing_runs_are_counted(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=13, datasets=2)
    with pytest.raises(UserError, match=r"None of the 78 runs .* and 70 more;"):
        collect(plan)


def test_runs_of_unlike_streams_do_not_share_a_table(tmp_path: Path) -> None:
    plan = small(tmp_path, methods=2, datasets=1, seeds=1)
    path = plan.run_folder("set-0", "joint", 1993) / "record.json"
    record = read_record(path)
    record.stream.data_digest = "e" * 64
    write_record(path, record)
    with pytest.raises(UserError, match="did not see the same stream \\(data_digest differs\\)"):
        collect(plan)


def test_all_figures_are_drawn_and_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    results = collect(small(tmp_path / "runs", methods=4, datasets=1, seeds=2))
    first = write_figures(results, tmp_path / "first")
    second = write_figures(results, tmp_path / "second")
    assert {path.name for path in first} == {
        f"{kind}-set-0.{suffix}" for kind in KINDS for suffix in ("pdf", "png")
    }
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        if one.suffix == ".png":
            assert np.ptp(imread(one)) > 0.5  # not blank


def test_curves_are_means_over_seeds_of_the_tasks_seen(results: Results) -> None:
    with paper_style():
        axis = curves.accuracy_curves(results, "set-0").axes[0]
    for line, method in zip(axis.lines, results.plan.methods[:-1], strict=False):
        per_seed = [
            [np.mean([v for v in row if v is not None]) for row in record.accuracy]
            for seed in results.plan.seeds
            for record in [results.records["set-0", method.name, seed]]
        ]
        assert line.get_ydata() == pytest.approx(np.mean(per_seed, axis=0))
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5]


def test_a_long_legend_stays_inside_the_figure(results: Results) -> None:
    with paper_style():
        figure = curves.accuracy_curves(results, "set-0")
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 13
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width


def test_class_names_are_left_out_where_there_are_too_many(tmp_path: Path) -> None:
    for n_classes, expected in [(10, 10), (100, 0)]:
        plan = fake_results.fake_plan(tmp_path / str(n_classes), methods=2, seeds=1)
        fake_results.write_fake_runs(plan, n_classes=n_classes, n_tasks=5)
        with paper_style():
            axis = selection.class_selection(collect(plan), "set-0").axes[0]
        assert len(axis.get_yticklabels()) == expected


def test_a_figure_of_methods_that_select_nothing_says_so(tmp_path: Path) -> None:
    plan = small(tmp_path, methods=2, datasets=1, seeds=1)
    fake_results.write_selection(plan.run_folder("set-0", "method-0", 1993), {})
    only = replace(plan, methods=plan.methods[:1])
    with paper_style():
        figure = selection.task_selection(collect(only), "set-0")
    assert figure.axes[0].texts[0].get_text() == "No method here selects prompts."


def test_only_the_last_evaluation_counts(tmp_path: Path) -> None:
    columns = {
        "after_task": np.array([0, 0, 1, 1, 1]),
        "true_class": np.array([0, 1, 0, 1, 1]),
        "chosen_class": np.array([1, 1, 0, 0, 1]),
    }
    rest = {name: np.zeros(5) for name in fake_results.SELECTION_COLUMNS if name not in columns}
    folder = small(tmp_path, methods=2, seeds=1).run_folder("set-0", "method-0", 1993)
    fake_results.write_selection(folder, columns | rest)
    counts = prompt_choices.selected_classes(folder / "selection.parquet", 2)
    assert counts is not None and counts.tolist() == [[1, 0], [1, 1]]


def test_damaged_selections_are_named(tmp_path: Path) -> None:
    folder = small(tmp_path, methods=2, seeds=1).run_folder("set-0", "method-0", 1993)
    path = folder / "selection.parquet"
    path.write_bytes(b"not a table")
    with pytest.raises(UserError, match="not a table of selections"):
        prompt_choices.selected_classes(path, 2)
    path.unlink()
    with pytest.raises(UserError, match=r"selection\.parquet cannot be read"):
        prompt_choices.selected_classes(path, 2)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_sorting_and_adding_up_lose_no_choice(tasks: int, per_task: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    n_classes = tasks * per_task
    counts = random.integers(0, 9, (n_classes, n_classes))
    task_of_class = [label // per_task for label in range(n_classes)]
    together = selection.by_task(counts, task_of_class)
    for true in range(tasks):
        for chosen in range(tasks):
            rows = slice(true * per_task, (true + 1) * per_task)
            columns = slice(chosen * per_task, (chosen + 1) * per_task)
            assert together[true, chosen] == counts[rows, columns].sum()
    order = random.permutation(n_classes)
    back = selection.by_source_class(counts, order.tolist())
    for source in range(n_classes):
        assert back[source, source] == counts[order[source], order[source]]
    assert back.sum() == counts.sum()
    shares = prompt_choices.row_percent(counts)
    filled = counts.sum(axis=1) > 0
    assert shares[filled].sum(axis=1) == pytest.approx(100)
    assert np.isnan(shares[~filled]).all()


def test_the_cost_table_says_what_a_method_keeps_and_whether_it_uses_clip(tmp_path: Path) -> None:
    plan = small(tmp_path, methods=2, datasets=1, seeds=2)
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
    plan = small(tmp_path, methods=3)
    table = tables.metrics_table(collect(plan), "set-0")
    assert "Rounding" not in to_markdown(table)
    noise = tmp_path / "noise.csv"
    noise.write_text(
        "dataset,method,rounding_std,repeats,seeds_std\n"
        "set-0,method-1,0.456,3,2\nset-1,method-0,9,3,2\n",
        encoding="utf-8",
    )
    table = tables.metrics_table(collect(replace(plan, noise=noise)), "set-0")
    frame = pd.read_csv(io.StringIO(to_csv(table))).set_index("method")
    assert frame.loc["method-1", "rounding_std"] == 0.456
    assert pd.isna(frame.loc["method-0", "rounding_std"])
    text = to_markdown(table)
    assert "Rounding [%]" in text
    assert "0.46" in text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "is not a table of noise"),
        ("dataset,method\na,b\n", "is not a table of noise"),
        ("dataset,method,rounding_std,repeats\na,b,high,3\n", "is not a table of noise"),
        ("dataset,method,rounding_std,repeats\na,b,nan,3\n", "between 0 and 100"),
        ("dataset,method,rounding_std,repeats\na,b,-1,3\n", "between 0 and 100"),
        ("dataset,method,rounding_std,repeats\na,b,1,3\na,b,2,3\n", "two rows of one data set"),
    ],
)
def test_a_damaged_table_of_noise_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    noise = tmp_path / "noise.csv"
    noise.write_text(rows, encoding="utf-8")
    plan = replace(small(tmp_path / "runs", methods=2, seeds=1), noise=noise)
    with pytest.raises(UserError, match=said):
        collect(plan)
