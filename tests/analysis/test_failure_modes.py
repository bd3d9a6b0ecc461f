"""Failure modes of one task."""

import numpy as np

from starprompt.analysis import failure_modes as signatures
from starprompt.analysis.mixtures import (
    Mixtures,
)
from starprompt.config import thresholds as leaf
from starprompt.config.thresholds import Thresholds
from tests.helpers.small_measures import ROWS, TASKS, clusters


def mixtures_of(features: np.ndarray, labels: np.ndarray, shrink: float = 1.0) -> Mixtures:
    """One Gaussian a class, its variance shrunken."""
    means = np.stack([features[labels == c].mean(0) for c in np.unique(labels)])
    variances = np.stack([features[labels == c].var(0) for c in np.unique(labels)])
    return Mixtures(np.ones((len(means), 1)), means[:, None], shrink * variances[:, None])


def test_faithful_generation_shows_nothing_and_a_collapsed_one_is_seen() -> None:
    features, labels = clusters(np.random.default_rng(4))
    good = signatures.generation_collapse(features, labels, mixtures_of(features, labels))
    assert leaf.shown([good], Thresholds()) == []
    dead = signatures.generation_collapse(features, labels, mixtures_of(features, labels, 1e-4))
    assert dead["variance_collapse"] < 0.01
    swapped = mixtures_of(features, (labels + 1) % 3)
    wrong = signatures.generation_collapse(features, labels, swapped)
    assert wrong["replay_gap"] > 0.9
    assert wrong["far_from_real"] > 2


def test_classes_with_few_features_are_left_out() -> None:
    features, labels = clusters(np.random.default_rng(4), n=5)
    assert signatures.generation_collapse(features, labels, mixtures_of(features, labels)) == {}


def test_selection_confusion_counts_old_images_alone() -> None:
    after_second = ROWS[ROWS["after_task"] == 1]
    true, chosen = after_second["true_class"].to_numpy(), after_second["chosen_class"].to_numpy()
    found = signatures.selection_confusion(true, chosen, TASKS, after_task=1)
    assert found == {"selection_confusion": 0.5}
    assert signatures.selection_confusion(true[:2], chosen[:2], TASKS, after_task=0) == {}


def test_saturation_is_that_of_the_worst_layer() -> None:
    found = {"injected_norm": np.array([1.0, 3.0]), "attention_norm": np.array([2.0, 1.5])}
    assert signatures.residual_saturation(found) == {"residual_saturation": 2.0}
    assert signatures.residual_saturation({}) == {}
