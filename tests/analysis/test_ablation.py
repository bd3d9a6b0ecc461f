"""Differences of variants from the full method."""

import math

import numpy as np
import pytest

from starprompt.analysis.ablation import differences, paired_interval


def test_the_paired_interval_is_students() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, t(2) = 4.303."""
    low, high = paired_interval(np.array([1.0, 2.0, 3.0])) or (0, 0)
    assert (high - low) / 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert (high + low) / 2 == pytest.approx(2)
    assert paired_interval(np.array([1.0])) is None


def test_differences_are_paired_by_seed() -> None:
    scores = {"full": {1: 90.0, 2: 50.0}, "variant": {2: 49.0, 1: 88.0}, "short": {1: 80.0}}
    frame = differences(scores, "full").set_index("method")
    assert frame.loc["variant", "difference"] == -1.5
    assert frame.loc["full", "difference"] == 0
    assert frame.loc["short", "seeds"] == 1 and math.isnan(frame.loc["short", "low"])
