"""Groups of methods within the critical difference."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from paper_figures.figures.ranks import (
    groups_within,
)


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
