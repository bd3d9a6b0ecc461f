"""Groups of methods within the critical difference."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_figures.collect import Results
from paper_figures.figures.ranks import (
    critical_difference_diagram,
    groups_within,
    performance_profiles,
)
from paper_figures.style import COLUMN, WIDTH, paper_style
from starprompt.analysis.significance import profiles_table, ranks_table
from tests.helpers.half_finished import grid_plan
from tests.helpers.scores import scores


@given(st.lists(st.floats(1, 20), min_size=2, max_size=12), st.floats(0.1, 8))
def test_groups_hold_all_that_lie_within_the_difference(
    places: list[float], difference: float
) -> None:
    groups = groups_within(places, difference)
    ordered = sorted(places)
    for a, b in pairwise(ordered):
        together = any(low <= a and b <= high for low, high in groups)
        assert together == (b - a < difference and b > a) or a == b
    for low, high in groups:
        assert high - low < difference


def test_every_profile_has_a_marker_on_its_line(results: Results) -> None:
    scores = results.runs.rename(columns={"final_average_accuracy": "score"})
    profiles = profiles_table(scores[["method", "dataset", "seed", "score"]])
    figure = performance_profiles(results.plan, profiles)
    lines = figure.axes[0].lines
    steps, marks = lines[::2], lines[1::2]
    assert len(steps) == len(marks) == len(results.plan.methods)
    for step, mark in zip(steps, marks, strict=True):
        (x,), (y,) = mark.get_data()
        before = step.get_ydata()[step.get_xdata() < x]
        after = step.get_ydata()[step.get_xdata() >= x]
        assert before.min() >= y > after.max(), "the line falls through the marker"
        assert mark.get_color() == step.get_color() and mark.get_linestyle() == "None"
    assert figure.get_figwidth() == WIDTH
    few = profiles[profiles["method"].isin(["method-0", "method-1"])]
    assert performance_profiles(results.plan, few).get_figwidth() == COLUMN


def test_figures_of_nothing_say_so() -> None:
    plan, nothing = grid_plan(("m0", "m1"), ("d0",), 1), scores(np.ones((1, 1, 1))).iloc[:0]
    for figure in (
        critical_difference_diagram(plan, ranks_table(nothing)),
        performance_profiles(plan, profiles_table(nothing)),
    ):
        assert "a run for every data set and seed" in figure.axes[0].texts[0].get_text().replace(
            "\n", " "
        )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("methods", [2, 3, 5])
def test_methods_that_all_tie_have_an_axis(methods: int) -> None:
    """All of three have rank 2, of five rank 3: no width is between them."""
    names = tuple(f"m{m}" for m in range(methods))
    ranks = ranks_table(scores(np.full((methods, 2, 3), 100.0)))
    with paper_style():
        figure = critical_difference_diagram(grid_plan(names, ("d0", "d1"), 3), ranks)
        figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    assert low < ranks["rank"].iloc[0] < high
