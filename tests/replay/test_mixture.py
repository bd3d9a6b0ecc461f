"""The batched EM against scikit-learn's, and the laws that any fit keeps."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from starprompt.replay.mixture import Mixtures, fit_mixtures
from tests.helpers.mixtures import clustered


def equal_start(classes: list[Tensor], components: int, seed: int = 0) -> Mixtures:
    rng = np.random.default_rng(seed)
    means = torch.stack([x[rng.permutation(len(x))[:components]] for x in classes])
    variances = torch.stack([x.var(0, unbiased=False).expand(components, -1) for x in classes])
    weights = torch.full(means.shape[:2], 1 / components, dtype=torch.float64)
    return Mixtures(weights, means, variances)


@pytest.mark.parametrize("iterations", [1, 5, 100])
@pytest.mark.parametrize("components", [1, 3, 5])
def test_equal_starts_lead_where_scikit_learn_goes(components: int, iterations: int) -> None:
    classes = clustered([60, 200, 117])
    start = equal_start(classes, components)
    fit = fit_mixtures(classes, components, iterations, start=start)
    for k, x in enumerate(classes):
        reference = GaussianMixture(
            components,
            covariance_type="diag",
            max_iter=iterations,
            weights_init=start.weights[k].double().numpy(),
            means_init=start.means[k].double().numpy(),
            precisions_init=(1 / start.variances[k]).double().numpy(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            reference.fit(x.double().numpy())
        score = reference.score(x.double().numpy())
        assert float(fit.log_likelihood[k]) == pytest.approx(score, abs=1e-4)
        assert int(fit.iterations[k]) == reference.n_iter_
        weights = fit.mixtures.weights[k].numpy()
        np.testing.assert_allclose(weights, reference.weights_, atol=1e-3)
        np.testing.assert_allclose(fit.mixtures.means[k].numpy(), reference.means_, rtol=1e-3)


def test_each_iteration_is_reported_and_changes_nothing() -> None:
    said: list[tuple[int, int]] = []
    classes = clustered([60, 40])
    start = equal_start(classes, 3)
    plain = fit_mixtures(classes, 3, 50, start=start)
    fit = fit_mixtures(
        classes, 3, 50, start=start, report=lambda done, most: said.append((done, most))
    )
    assert said == [(done, 50) for done in range(int(fit.iterations.max()))]
    torch.testing.assert_close(fit.mixtures.means, plain.mixtures.means, rtol=0, atol=0)


def test_own_starts_are_as_good_as_scikit_learns() -> None:
    classes = clustered([300, 150, 400], dim=30, seed=3)
    torch.manual_seed(0)
    fit = fit_mixtures(classes, 5, 200)
    for k, x in enumerate(classes):
        reference = GaussianMixture(5, covariance_type="diag", random_state=0, max_iter=200)
        score = reference.fit(x.numpy()).score(x.numpy())
        assert float(fit.log_likelihood[k]) >= score - 1e-3 * abs(score)


def test_density_is_the_gaussian_one() -> None:
    """Divides by the variance and halves the log of the determinant once."""
    torch.manual_seed(0)
    mixture = Mixtures(torch.tensor([[0.3, 0.7]]), torch.randn(1, 2, 4), torch.rand(1, 2, 4) + 0.1)
    x = torch.randn(1, 7, 4)
    parts = [
        float(w) * multivariate_normal(m.numpy(), np.diag(v.numpy())).pdf(x[0].numpy())
        for w, m, v in zip(
            *(t[0] for t in (mixture.weights, mixture.means, mixture.variances)), strict=True
        )
    ]
    expected = np.log(sum(parts))
    np.testing.assert_allclose(mixture.log_density(x)[0].numpy(), expected, rtol=1e-4)


@settings(max_examples=25)
@given(
    scale=st.floats(0.05, 50),
    shift=st.floats(-100, 100),
    counts=st.lists(st.integers(40, 80), min_size=1, max_size=3),
)
def test_a_change_of_units_changes_only_the_units(
    scale: float, shift: float, counts: list[int]
) -> None:
    classes = [x.double() for x in clustered(counts, dim=3, seed=sum(counts))]
    start = equal_start(classes, 2)
    moved = Mixtures(start.weights, start.means * scale + shift, start.variances * scale**2)
    plain = fit_mixtures(classes, 2, 30, start=start)
    other = fit_mixtures([x * scale + shift for x in classes], 2, 30, start=moved)
    torch.testing.assert_close(
        other.mixtures.means, plain.mixtures.means * scale + shift, rtol=1e-3, atol=1e-3
    )
    jacobian = 3 * np.log(scale)
    torch.testing.assert_close(
        other.log_likelihood, plain.log_likelihood - jacobian, rtol=1e-3, atol=1e-3
    )


@settings(max_examples=25)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 6))
def test_any_sizes_give_proper_mixtures(counts: list[int], components: int) -> None:
    """Fewer samples than components, too: all finite, weights sum to one, variances positive."""
    mixtures = fit_mixtures(clustered(counts, dim=4), components, 20).mixtures
    assert mixtures.means.shape == (len(counts), components, 4)
    torch.testing.assert_close(mixtures.weights.sum(1), torch.ones(len(counts)))
    assert all(bool(t.isfinite().all()) for t in (mixtures.means, mixtures.variances))
    assert bool((mixtures.variances > 0).all())
    assert bool(mixtures.sample(5).isfinite().all())


def test_more_iterations_never_lose() -> None:
    classes = clustered([100, 80], seed=5)
    start = equal_start(classes, 4)
    scores = [
        fit_mixtures(classes, 4, n, tolerance=0, start=start).log_likelihood for n in range(1, 15)
    ]
    assert bool((torch.stack(scores).diff(dim=0) > -1e-4).all())


def test_classes_do_not_touch_each_other() -> None:
    """A class is fitted the same alone as among others that need more steps."""
    classes = clustered([50, 200, 30], seed=2)
    start = equal_start(classes, 3)
    together = fit_mixtures(classes, 3, 50, start=start)
    for k in range(3):
        own = Mixtures(start.weights[k : k + 1], start.means[k : k + 1], start.variances[k : k + 1])
        alone = fit_mixtures(classes[k : k + 1], 3, 50, start=own)
        torch.testing.assert_close(
            alone.log_likelihood[0], together.log_likelihood[k], rtol=1e-5, atol=1e-5
        )


def test_one_repeated_sample_is_no_trouble() -> None:
    mixtures = fit_mixtures([torch.ones(9, 3)], 5, 50).mixtures
    torch.testing.assert_close(mixtures.sample(100).mean(1), torch.ones(1, 3), atol=1e-2, rtol=0)


@pytest.mark.parametrize("bad", [torch.zeros(0, 3), torch.full((4, 3), float("nan"))])
def test_nothing_is_fitted_to_nothing(bad: Tensor) -> None:
    with pytest.raises(ValueError, match="feature"):
        fit_mixtures([torch.randn(5, 3), bad], 2)


def test_samples_have_the_mixtures_moments() -> None:
    torch.manual_seed(0)
    mixture = Mixtures(
        torch.tensor([[0.2, 0.8], [0.5, 0.5]]),
        torch.tensor([[[0.0, 4.0], [1.0, -4.0]], [[9.0, 9.0], [9.0, 9.0]]]),
        torch.tensor([[[1.0, 2.0], [0.5, 0.1]], [[1.0, 1.0], [4.0, 4.0]]]),
    )
    drawn = mixture.sample(200_000)
    mean = (mixture.weights[..., None] * mixture.means).sum(1)
    second = (mixture.weights[..., None] * (mixture.variances + mixture.means.square())).sum(1)
    torch.testing.assert_close(drawn.mean(1), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(1), second - mean.square(), atol=0.06, rtol=0.01)


def test_state_comes_back() -> None:
    mixtures = fit_mixtures(clustered([20]), 2).mixtures
    again = Mixtures.from_state(mixtures.state("m."), "m.")
    assert torch.equal(again.means, mixtures.means)
    assert torch.equal(again.variances, mixtures.variances)
    assert torch.equal(again.weights, mixtures.weights)
