"""Drift of keys."""

import math

import numpy as np
import pytest

from starprompt.analysis.key_stability import key_drift


def test_drift_is_the_cosine_to_the_key_of_the_own_task() -> None:
    first = np.array([[1.0, 0.0]])
    second = np.array([[0.0, 3.0], [1.0, 0.0]])  # turned by a right angle, and longer
    third = np.array([[-2.0, 0.0], [1.0, 1.0]])
    drift = key_drift([first, second, third], np.array([0, 1]))
    table = drift.pivot_table(index="label", columns="after_task", values="drift")
    assert table.loc[0].tolist() == pytest.approx([0, 1, 2])
    assert table.loc[1].tolist()[1:] == pytest.approx([0, 1 - math.sqrt(0.5)])
