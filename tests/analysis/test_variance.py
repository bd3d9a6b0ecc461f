"""Variance components: known ones come out again, and what does not vary has none."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.analysis.variance import RUN_COLUMNS, SOURCES, cells, components, variance_table


def runs_of(values: np.ndarray, method: str = "m") -> pd.DataFrame:
    rows = [("d", method, *place, float(value)) for place, value in np.ndenumerate(values)]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def test_known_components_come_out_again() -> None:
    random = np.random.default_rng(0)
    a, b, n = 400, 300, 2
    values = (
        2.0 * random.standard_normal((a, 1, 1))
        + 3.0 * random.standard_normal((1, b, 1))
        + 1.0 * random.standard_normal((a, b, 1))
        + 0.5 * random.standard_normal((a, b, n))
    )
    found = components(values)
    expected = {"order": 4.0, "seed": 9.0, "both": 1.0, "rounding": 0.25}
    for source in SOURCES:
        assert found[source] == pytest.approx(expected[source], rel=0.25)


def test_a_worked_example() -> None:
    """MS_order 32, MS_seed 2, MS_both 0 and MS_within 2, by hand."""
    values = np.array([[[9.0, 11.0], [10.0, 12.0]], [[13.0, 15.0], [14.0, 16.0]]])
    found = components(values)
    assert found == pytest.approx({"order": 8.0, "seed": 0.5, "both": 0.0, "rounding": 2.0})


@given(st.floats(-50, 50), st.lists(st.floats(-9, 9), min_size=2, max_size=5))
def test_orders_alone_leave_the_other_sources_nothing(level: float, orders: list[float]) -> None:
    values = np.broadcast_to(level + np.array(orders)[:, None, None], (len(orders), 3, 2))
    found = components(values)
    assert found["order"] == pytest.approx(np.var(orders, ddof=1), abs=1e-9)
    for source in ("seed", "both", "rounding"):
        assert found[source] == pytest.approx(0, abs=1e-9)


def test_what_two_methods_share_is_gone_from_their_difference() -> None:
    random = np.random.default_rng(1)
    shared = 5 * random.standard_normal((3, 1, 1)) + np.zeros((3, 3, 2))
    ours, theirs = (shared + 0.1 * random.standard_normal((3, 3, 2)) for _ in range(2))
    table = variance_table(
        pd.concat([runs_of(ours, "ours"), runs_of(theirs, "theirs")]), reference="ours"
    )
    assert table[["method", "less"]].to_numpy().tolist() == [
        ["ours", ""], ["theirs", ""], ["ours", "theirs"]
    ]  # fmt: skip
    alone, _, difference = table.to_dict("records")
    assert alone["total"] > 1 and difference["total"] < 0.5
    assert difference["mean"] == pytest.approx((ours - theirs).mean())


def test_a_design_with_gaps_is_refused() -> None:
    whole = runs_of(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="every seed and perturbation"):
        cells(whole.drop(index=3))
    with pytest.raises(ValueError, match="two repeats"):
        cells(whole[whole["perturbation"] == 0])
