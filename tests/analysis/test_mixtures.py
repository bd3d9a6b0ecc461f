"""Densities, draws and the number of components of mixtures."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from starprompt.analysis.mixtures import (
    Mixtures,
    bic,
    compare_components,
    parameter_count,
)

RANDOM = np.random.default_rng(0)


def two_gaussians(dim: int = 3) -> Mixtures:
    means = np.stack([np.zeros(dim), np.full(dim, 5.0)])[None]
    return Mixtures(np.array([[0.25, 0.75]]), means, np.full((1, 2, dim), 0.5))


def test_density_is_the_weighted_sum_of_normal_densities() -> None:
    mixture, samples = two_gaussians(), RANDOM.standard_normal((20, 3)) * 3
    densities = [
        weight * multivariate_normal(mean, np.diag(variance)).pdf(samples)
        for weight, mean, variance in zip(
            mixture.weights[0], mixture.means[0], mixture.variances[0], strict=True
        )
    ]
    assert mixture.log_density(0, samples) == pytest.approx(np.log(np.sum(densities, axis=0)))


def test_draws_have_the_mixtures_mean_variance_and_weights() -> None:
    drawn = two_gaussians().draw(0, 40_000, np.random.default_rng(1))
    assert drawn.mean(axis=0) == pytest.approx([3.75] * 3, abs=0.05)
    assert drawn.var(axis=0) == pytest.approx([0.5 + 0.1875 * 25] * 3, rel=0.03)
    assert (drawn[:, 0] > 2.5).mean() == pytest.approx(0.75, abs=0.01)


def test_effective_components() -> None:
    weights = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    mixture = Mixtures(weights, np.zeros((2, 3, 1)), np.ones((2, 3, 1)))
    assert mixture.effective_components(0) == pytest.approx(2)
    assert mixture.effective_components(1) == pytest.approx(1)


def test_bic_of_a_known_gaussian() -> None:
    samples = np.array([-1.0, 1.0])  # maximum likelihood: mean 0, variance 1
    likelihood = norm.logpdf(samples).mean()
    assert parameter_count(1, 1) == 2
    assert bic(likelihood, 2, 1, 1) == pytest.approx(
        2 * math.log(2) + 2 * math.log(2 * math.pi) + 2
    )


def test_bic_finds_the_number_of_clusters() -> None:
    """One round class, one of three clusters."""
    random = np.random.default_rng(5)
    one = random.standard_normal((200, 4))
    centres = 12 * random.standard_normal((3, 4))
    three = centres[random.integers(3, size=200)] + random.standard_normal((200, 4))
    frame = compare_components(np.concatenate([one, three]), np.repeat([0, 1], 200), (1, 2, 3, 5))
    best = frame[frame["best"]].set_index("label")["components"]
    assert best.to_dict() == {0: 1, 1: 3}
    likelihoods = frame[frame["label"] == 1].set_index("components")["held_out"]
    assert likelihoods[3] > likelihoods[1] + 1
    assert set(frame["samples"]) == {160}


def test_too_many_components_for_the_samples_are_not_tried() -> None:
    frame = compare_components(RANDOM.standard_normal((20, 2)), np.zeros(20, int), (1, 2, 5, 10))
    assert frame["components"].tolist() == [1, 2, 5]
