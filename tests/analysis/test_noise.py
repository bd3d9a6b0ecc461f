"""The spread that rounding makes, beside the spread over seeds."""

import math

import pandas as pd
import pytest

from starprompt.analysis.noise import noise_table


def test_the_spread_by_rounding_is_pooled_within_seeds() -> None:
    values = {(1, 0): 90.0, (1, 1): 92.0, (2, 0): 70.0, (2, 1): 70.0}
    runs = pd.DataFrame(
        [
            {"dataset": "d", "method": "m", "seed": s, "perturbation": p, "accuracy": a}
            for (s, p), a in values.items()
        ]
    )
    (row,) = noise_table(runs).to_dict("records")
    assert row["rounding_std"] == pytest.approx(1.0)  # of variances 2 and 0
    assert row["rounding_range"] == 2.0
    assert row["seeds_std"] == pytest.approx(math.sqrt(200))
    assert (row["seeds"], row["repeats"]) == (2, 2)
