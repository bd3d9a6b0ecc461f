"""How many Gaussians does a class need? And the mixtures that a run stored, to draw from.

Features of a class are divided once: four fifths fit mixtures of diagonal Gaussians, one fifth is
held out. BIC = k ln n - 2 n l with k = M (2 d + 1) - 1 parameters and l the mean log-likelihood of
the n fitted samples (Schwarz 1978); the least is the best.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

if TYPE_CHECKING:
    import pandas as pd

#: numbers of Gaussians that are tried
COMPONENTS = (1, 2, 3, 5, 10, 20)
#: samples that a component must have on average, so that none fits single points
SAMPLES_A_COMPONENT = 3


@dataclass(frozen=True)
class Mixtures:
    """K mixtures of M diagonal Gaussians: weights (K, M), means and variances (K, M, d)."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def draw(self, of: int, n: int, random: np.random.Generator) -> np.ndarray:
        """(n, d) float64 draws from mixture ``of``."""
        weights = self.weights[of].astype(np.float64)
        chosen = random.choice(len(weights), size=n, p=weights / weights.sum())
        noise = random.standard_normal((n, self.means.shape[-1]))
        return self.means[of][chosen] + noise * np.sqrt(self.variances[of][chosen])

    def log_density(self, of: int, samples: np.ndarray) -> np.ndarray:
        """(n,) log-density in nats of samples (n, d) under mixture ``of``."""
        means, variances = self.means[of].astype(float), self.variances[of].astype(float)
        squared = (samples[:, None, :] - means) ** 2 / variances
        joint = -0.5 * (squared + np.log(2 * np.pi * variances)).sum(axis=-1)
        with np.errstate(divide="ignore"):
            return logsumexp(joint + np.log(self.weights[of]), axis=-1)

    def effective_components(self, of: int) -> float:
        """exp of the entropy of the weights: 1 to M."""
        weights = self.weights[of].astype(np.float64)
        weights = weights[weights > 0] / weights.sum()
        return float(np.exp(-(weights * np.log(weights)).sum()))


def parameter_count(components: int, dim: int) -> int:
    """Free numbers of a mixture: means, variances, and weights that sum to 1."""
    return components * (2 * dim + 1) - 1


def bic(log_likelihood: float, n: int, components: int, dim: int) -> float:
    """Bayesian information criterion of a mean log-likelihood of n samples; low is good."""
    return parameter_count(components, dim) * math.log(n) - 2 * n * log_likelihood


def compare_components(
    features: np.ndarray,
    labels: np.ndarray,
    components: Sequence[int] = COMPONENTS,
    seed: int = 0,
) -> "pd.DataFrame":
    """Fit every class with every number of Gaussians.

    features (N, d), labels (N,). One row a class and number: label, components, samples (fitted),
    log_likelihood and held_out (mean nats a sample), bic, best (whether it has the class's least
    BIC). Numbers that would leave a component fewer than SAMPLES_A_COMPONENT samples are not
    tried.
    """
    import pandas as pd  # here, because runs import this module and need a second less without

    columns = ["label", "components", "samples", "log_likelihood", "held_out", "bic"]
    found = pd.DataFrame(_fits(features, labels, components, seed), columns=columns)
    least = found.groupby("label")["bic"].transform("min")
    return found.assign(best=found["bic"] == least)


def _fits(
    features: np.ndarray, labels: np.ndarray, components: Sequence[int], seed: int
) -> Iterator[tuple[int, int, int, float, float, float]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    for label in np.unique(labels):
        own = features[labels == label]
        shuffled = np.random.default_rng([seed, int(label)]).permutation(len(own))
        held, fitted = own[shuffled[: len(own) // 5]], own[shuffled[len(own) // 5 :]]
        for number in components:
            if number > 1 and len(fitted) < SAMPLES_A_COMPONENT * number:
                continue
            if not len(held):
                continue
            mixture = GaussianMixture(number, covariance_type="diag", random_state=seed)
            with warnings.catch_warnings():
                # A hundred steps bring it near enough to compare numbers of components.
                warnings.simplefilter("ignore", ConvergenceWarning)
                mixture.fit(fitted)
            likelihood = float(mixture.score(fitted))
            yield (
                *(int(label), number, len(fitted), likelihood, float(mixture.score(held))),
                bic(likelihood, len(fitted), number, own.shape[1]),
            )
