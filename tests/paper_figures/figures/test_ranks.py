"""Groups of methods within the critical difference."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from paper_figures.collect import Results
from paper_figures.figures.ranks import groups_within, performance_profiles
from paper_figures.style import COLUMN, WIDTH
from starprompt.analysis.significance import profiles_table


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
