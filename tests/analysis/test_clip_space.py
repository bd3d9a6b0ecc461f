"""Spread and separation of classes in CLIP's space."""

import math

import numpy as np
import pytest

from starprompt.analysis import clip_space


def test_geometry_of_two_tight_classes_far_apart() -> None:
    features = np.array([[10.0, 0.1], [10.0, -0.1], [0.1, 3.0], [-0.1, 3.0]])
    frame = clip_space.class_geometry(features, np.array([0, 0, 1, 1])).set_index("label")
    assert frame["between"].tolist() == pytest.approx([math.sqrt(2)] * 2, rel=1e-3)
    assert frame.loc[0, "within"] == pytest.approx(0.01, rel=1e-2)
    assert frame["ratio"].tolist() == pytest.approx((frame["between"] / frame["within"]).tolist())
    with pytest.raises(ValueError, match="two classes"):
        clip_space.class_geometry(features, np.zeros(4, int))


def test_margin_is_the_gap_of_the_two_best_cosines() -> None:
    keys = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    assert clip_space.margins(np.array([[3.0, 0.0], [1.0, 1.0]]), keys).tolist() == pytest.approx(
        [1.0, 0.0]
    )
