"""A plane of real and generated features: equal ones together, the same points every time."""

import numpy as np
import pandas as pd

from starprompt.analysis.feature_map import CLASSES, SAMPLES, feature_map
from starprompt.analysis.mixtures import Mixtures


def made_up(classes: int, samples: int = 30, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Features around far means, and their labels."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), samples)
    return 20 * np.eye(max(classes, dim))[labels][:, :dim] + random.standard_normal(
        (len(labels), dim)
    ), labels


def fitted(features: np.ndarray, labels: np.ndarray) -> Mixtures:
    """One Gaussian a class."""
    own = [features[labels == label] for label in np.unique(labels)]
    return Mixtures(
        np.ones((len(own), 1)),
        np.stack([f.mean(axis=0)[None] for f in own]),
        np.stack([f.var(axis=0)[None] for f in own]),
    )


def nearest_labels(frame: pd.DataFrame) -> np.ndarray:
    """Of each generated point, the label of the nearest real one."""
    real, drawn = (frame[frame["generated"] == kind] for kind in (0, 1))
    apart = [(drawn[n].to_numpy()[:, None] - real[n].to_numpy()) ** 2 for n in ("x", "y")]
    return real["label"].to_numpy()[np.argmin(sum(apart), axis=1)]


def test_good_mixtures_lie_among_their_class_and_wrong_ones_do_not() -> None:
    features, labels = made_up(3)
    mixtures = fitted(features, labels)
    frame = feature_map(features, labels, mixtures)
    drawn = frame[frame["generated"] == 1]
    assert (nearest_labels(frame) == drawn["label"]).mean() > 0.9
    turned = Mixtures(mixtures.weights, np.roll(mixtures.means, 1, axis=0), mixtures.variances)
    frame = feature_map(features, labels, turned)
    assert (nearest_labels(frame) == drawn["label"].to_numpy()).mean() < 0.1


def test_equal_inputs_give_equal_points_and_the_given_ones_are_left_alone() -> None:
    features, labels = made_up(2)
    before = features.copy()
    one, other = (feature_map(features, labels, fitted(features, labels)) for _ in range(2))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert (features == before).all() and np.isfinite(one[["x", "y"]]).all().all()


def test_of_many_some_are_shown_and_as_many_generated() -> None:
    features, labels = made_up(2 * CLASSES, samples=2 * SAMPLES)
    frame = feature_map(features, labels, fitted(features, labels))
    counts = frame.groupby(["label", "generated"]).size()
    assert (counts == SAMPLES).all() and len(counts) == 2 * CLASSES
    assert {0, 2 * CLASSES - 1} < set(frame["label"])


def test_few_points_make_no_plane() -> None:
    features, labels = made_up(1, samples=3)
    assert feature_map(features, labels, fitted(features, labels)).empty
    assert list(feature_map(features, labels, fitted(features, labels))) == [
        "label", "generated", "x", "y",
    ]  # fmt: skip
