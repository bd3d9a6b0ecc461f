"""How like real features generated ones are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import sqrtm

from starprompt.analysis import replay_quality
from tests.helpers.small_measures import clusters


def test_frechet_distance_equals_the_textbook_formula() -> None:
    random = np.random.default_rng(3)
    first = random.standard_normal((60, 5)) @ random.standard_normal((5, 5))
    second = random.standard_normal((50, 5)) + 1
    covariances = [np.cov(first.T), np.cov(second.T)]
    expected = (
        ((first.mean(0) - second.mean(0)) ** 2).sum()
        + sum(np.trace(c) for c in covariances)
        - 2 * np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    )
    assert replay_quality.frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert replay_quality.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_with_fewer_samples_than_dimensions() -> None:
    random = np.random.default_rng(3)
    first, second = random.standard_normal((8, 30)), random.standard_normal((9, 30))
    covariances = [np.cov(first.T), np.cov(second.T)]
    eigen = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)
    expected = (
        ((first.mean(0) - second.mean(0)) ** 2).sum()
        + sum(np.trace(c) for c in covariances)
        - 2 * np.sqrt(eigen).sum()
    )
    assert replay_quality.frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)


def test_density_and_coverage_of_real_far_and_piled_up_samples() -> None:
    random = np.random.default_rng(2)
    real, same = random.standard_normal((200, 4)), random.standard_normal((200, 4))
    density, coverage = replay_quality.density_and_coverage(real, same)
    assert density == pytest.approx(1, abs=0.25) and coverage > 0.9
    assert replay_quality.density_and_coverage(real, same + 100) == (0, 0)
    density, coverage = replay_quality.density_and_coverage(real, np.tile(real.mean(0), (200, 1)))
    assert coverage < 0.5 < density  # all in the middle: dense, but few balls are reached


@given(
    arrays(np.float64, (12, 3), elements=st.floats(-5, 5, width=32)),
    st.floats(0.5, 3),
    st.floats(-5, 5),
)
def test_ratios_do_not_depend_on_scale_and_place(
    samples: np.ndarray, scale: float, shift: float
) -> None:
    samples = samples + np.random.default_rng(0).standard_normal(samples.shape)
    first, second, generated = samples[:4], samples[4:8], samples[8:]
    before = replay_quality.ratios(first, second, generated)
    after = replay_quality.ratios(*(scale * x + shift for x in (first, second, generated)))
    assert after == pytest.approx(before, rel=1e-3)


def test_effective_dimensions() -> None:
    line = np.outer(np.linspace(-1, 1, 50), [1.0, 2.0, 3.0])
    ball = np.random.default_rng(0).standard_normal((20_000, 3))
    assert replay_quality.effective_dimensions(line) == pytest.approx(1)
    assert replay_quality.effective_dimensions(ball) == pytest.approx(3, rel=1e-3)
    assert replay_quality.effective_dimensions(np.ones((5, 3))) == 1


def test_a_linear_classifier_learns_clusters_and_mislearns_swapped_ones() -> None:
    random = np.random.default_rng(4)
    features, labels = clusters(random)
    test, test_labels = clusters(random)
    assert replay_quality.linear_accuracy(features, labels, test, test_labels) > 0.95
    assert replay_quality.linear_accuracy(features, (labels + 1) % 3, test, test_labels) < 0.05
