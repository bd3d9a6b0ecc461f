"""What the statistics say in tables and sentences."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from paper_figures.figures.ranks import (
    critical_difference_diagram,
    performance_profiles,
)
from paper_figures.plan import DatasetColumn, MethodRow, Plan
from paper_figures.style import paper_style
from paper_figures.tables.forms import to_latex, to_markdown
from paper_figures.tables.significance import pairs_table, ranks_table, sentences
from starprompt.analysis import significance
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
    ranks, pairs = significance.ranks_table(frame), significance.pairs_table(frame, "m0")
    table = ranks_table(plan, ranks, significance.aggregates_table(frame))
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
