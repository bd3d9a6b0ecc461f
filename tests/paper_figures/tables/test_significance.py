"""What the statistics say in tables and sentences."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from paper_figures.collect import Results
from paper_figures.figures.ranks import (
    critical_difference_diagram,
    performance_profiles,
)
from paper_figures.plan import DatasetColumn, MethodRow, Plan
from paper_figures.style import paper_style
from paper_figures.tables.forms import to_latex, to_markdown
from paper_figures.tables.significance import pairs_table, ranks_table, sentences
from starprompt.analysis import significance
from tests.helpers.half_finished import METRIC, grid_plan, results_of
from tests.helpers.paths import REPOSITORY
from tests.helpers.scores import scores


def plan_of(*names: str) -> Plan:
    rows = tuple(MethodRow(name, f"Method {name}", "It is.") for name in names)
    return Plan("t", "T", REPOSITORY, rows, (DatasetColumn("d0", "D"),), (0, 1, 2))


def pair(**values: float) -> pd.DataFrame:
    row = {
        "method": "m1", "pairs": 3, "difference": 2.5, "low": -1.0, "high": 6.0, "deviation": 1.4,
        "effect": 1.8, "improvement": 1.0, "improvement_low": 1.0, "improvement_high": 1.0,
        "p": 0.25, "p_holm": 0.25, "least_p": 0.25, "needed": 5,
    }  # fmt: skip
    return pd.DataFrame([{**row, **values}])


def test_three_seeds_can_show_no_p_below_a_quarter_and_the_sentence_says_so() -> None:
    (said,) = sentences(plan_of("m0", "m1"), pair(), "m0")
    assert said == (
        "Method m0 ends 2.50 points above Method m1 (95% interval −1.00 to +6.00, 3 pairs; "
        "Wilcoxon p = 0.25 after Holm); 3 pairs can't give an uncorrected p below 0.25, and the "
        "interval holds zero: it may be chance; a paired t test would take "
        "about 5 pairs to show this difference."
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pairs": 27, "p_holm": 0.0004, "least_p": 1e-8, "low": 1.0}, "unlikely to be chance."),
        ({"pairs": 1, "low": math.nan, "high": math.nan}, "a single pair of runs says nothing"),
        ({"difference": -2.5, "low": -4.0, "high": -1.0}, "points below Method m1"),
        ({"difference": 0.001}, "Method m0 and Method m1 end level"),
        ({"low": 0.5}, "but the interval leaves zero out"),
        ({"needed": math.nan}, "it may be chance."),
    ],
)
def test_sentences_follow_the_numbers(values: dict[str, float], said: str) -> None:
    assert said in sentences(plan_of("m0", "m1"), pair(**values), "m0")[0]


def test_bounds_are_no_rivals() -> None:
    plan = plan_of("m0", "m1")
    bound = replace(plan, methods=(plan.methods[0], replace(plan.methods[1], bound=True)))
    assert sentences(bound, pair(), "m0") == []


def test_tables_and_figures_of_a_small_grid() -> None:
    values = [[[90.0, 91, 92], [80, 82, 81]], [[88, 89, 89], [79, 83, 80]], [[70, 71, 72]] * 2]
    frame = scores(pd.Series(values).explode().explode().to_numpy(float).reshape(3, 2, 3))
    plan = plan_of("m0", "m1", "m2")
    plan = replace(plan, datasets=(*plan.datasets, DatasetColumn("d1", "E")))
    results = Results(plan, {}, frame.rename(columns={"score": METRIC}), pd.DataFrame())
    ranks, pairs = significance.ranks_table(frame), significance.pairs_table(frame, "m0")
    table = ranks_table(results, ranks, significance.aggregates_table(frame))
    assert "Nemenyi, 2 data sets" in to_markdown(table)
    assert "Friedman's test that all rank alike: p = " in to_markdown(table)
    compared = pairs_table(plan, pairs, "m0")
    assert "6 pairs: p = 0.031" in to_markdown(compared)
    for one in (table, compared):
        latex = to_latex(one, "x")
        assert latex.count("{") == latex.count("}")
    with paper_style():
        texts = [text.get_text() for text in critical_difference_diagram(plan, ranks).axes[0].texts]
        assert any("Method m0 (1.00)" in text for text in texts)
        profiles = performance_profiles(plan, significance.profiles_table(frame))
        assert len(profiles.axes[0].lines) == 2 * 3, "a line and its marker"
        empty = critical_difference_diagram(plan, ranks.iloc[:1])
        assert "two methods" in empty.axes[0].texts[0].get_text()


def test_the_ranks_name_what_they_leave_out() -> None:
    plan = grid_plan(("a", "b", "c", "joint"), ("x", "y"), 3, bounds=("joint",))
    there = {("x", m, s): 50.0 for m in ("a", "b", "joint") for s in (1, 2, 3)}
    there |= {("y", "a", 1): 60.0, ("y", "joint", 1): 60.0}
    results = results_of(plan, there)
    results.missing["y", "b", 1] = "failed"
    ranks = significance.ranks_table(pd.DataFrame(columns=["method", "dataset", "seed", "score"]))
    notes = ranks_table(results, ranks, ranks).notes
    assert notes[1:] == [
        "Not all runs of the plan have finished; the ranks are over Set x, seeds 1, 2, 3; Set y, "
        "seed 1.",
        "The data sets have unequal numbers of seeds; in the mean and the IQM every run weighs the "
        "same.",
        "Left out: Method b (lacks Set y, seed 1: failed); Method c (no run has finished: not "
        "run). A method enters with every (data set, seed) that another one here has.",
        "Bounds have no rank: Method joint.",
    ]


def test_a_whole_grid_without_bounds_leaves_nothing_out() -> None:
    plan = grid_plan(("a", "b"), ("x", "y"), 2)
    results = results_of(plan, {(d, m, s): 1.0 for d in "xy" for m in "ab" for s in (1, 2)})
    scored = results.runs.rename(columns={METRIC: "score"})
    made = significance.ranks_table(scored), significance.aggregates_table(scored)
    said = " ".join(ranks_table(results, *made).notes)
    assert not any(word in said for word in ("Left out", "plan", "unequal", "Bounds"))


def test_a_method_without_a_run_in_common_is_named_below_the_pairs() -> None:
    plan = grid_plan(("a", "b", "c"), ("x",), 2)
    frame = results_of(plan, {("x", "a", 1): 5.0, ("x", "b", 1): 4.0, ("x", "c", 2): 4.0}).runs
    pairs = significance.pairs_table(frame.rename(columns={METRIC: "score"}), "a")
    table = pairs_table(plan, pairs, "a")
    assert list(table.cells["Method"]) == ["Method b"]
    assert table.notes[-1] == "Left out, without a (data set, seed) that both have: Method c."
