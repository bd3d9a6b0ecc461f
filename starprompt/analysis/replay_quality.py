"""How like real features are those that replay generates?

Every measure is one of two samples of equal size, and has a yardstick beside it: the same measure
of real features against other real ones of the same class.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from starprompt.analysis.mixtures import Mixtures

if TYPE_CHECKING:
    import pandas as pd

#: neighbours that make a real feature's ball (Naeem et al. 2020)
NEIGHBOURS = 5
#: classes with fewer features are left out: their halves would say nothing
FEWEST = 2 * (NEIGHBOURS + 1)


@dataclass(frozen=True)
class ClassQuality:
    """One class. ``*_real`` is the yardstick: real against real.

    frechet         Fréchet distance, squared, in the features' unit
    density         mean number of real balls that a generated feature lies in, over k; real ~ 1
    coverage        share of real balls that hold a generated feature
    variance_ratio  total variance, generated over real
    rank_ratio      effective dimensions, generated over real
    nearest_ratio   mean distance of generated to nearest real, over that of real to nearest real
    components      effective number of components: exp of the entropy of the mixture's weights
    """

    label: int
    samples: int
    frechet: float
    frechet_real: float
    density: float
    density_real: float
    coverage: float
    coverage_real: float
    variance_ratio: float
    rank_ratio: float
    nearest_ratio: float
    components: float


def class_quality(
    features: np.ndarray, labels: np.ndarray, mixtures: Mixtures, seed: int = 0
) -> "pd.DataFrame":
    """One row (:class:`ClassQuality`) a class with enough features.

    features (N, d) real ones, labels (N,); mixture c is class c's. Real features are parted in
    two halves; generated ones are as many as a half.
    """
    import pandas as pd  # here, because runs import this module and need a second less without

    rows = [asdict(quality) for quality in _qualities(features, labels, mixtures, seed)]
    return pd.DataFrame(rows, columns=list(ClassQuality.__dataclass_fields__))


def _qualities(
    features: np.ndarray, labels: np.ndarray, mixtures: Mixtures, seed: int
) -> Iterator[ClassQuality]:
    for label in np.unique(labels):
        own = features[labels == label]
        if len(own) < FEWEST:
            continue
        first, second = halves(own)
        generated = mixtures.draw(int(label), len(first), np.random.default_rng([seed, int(label)]))
        density, coverage = density_and_coverage(second, generated)
        density_real, coverage_real = density_and_coverage(second, first)
        yield ClassQuality(
            label=int(label),
            samples=len(own),
            frechet=frechet_distance(second, generated),
            frechet_real=frechet_distance(second, first),
            density=density,
            density_real=density_real,
            coverage=coverage,
            coverage_real=coverage_real,
            **ratios(first, second, generated),
            components=mixtures.effective_components(int(label)),
        )


def halves(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every second sample, and the others; of equal size (the last of an odd number is left)."""
    even = samples[: len(samples) // 2 * 2]
    return even[::2], even[1::2]


def ratios(first: np.ndarray, second: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Generated over real: variance_ratio, rank_ratio, nearest_ratio. All three (n, d)."""
    own = nearest_distance(first, second)
    return {
        "variance_ratio": float(generated.var(axis=0).sum() / max(first.var(axis=0).sum(), 1e-12)),
        "rank_ratio": effective_dimensions(generated) / effective_dimensions(first),
        "nearest_ratio": nearest_distance(generated, second) / max(own, 1e-12),
    }


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of two samples (n, d), (m, d).

    With S = A A^T and A the centred samples, tr (S1 S2)^(1/2) is the sum of the singular values of
    A1^T A2: n by m numbers instead of the root of a d by d matrix. (Heusel et al. 2017.)
    """
    mean = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    one = (first - first.mean(axis=0)) / np.sqrt(len(first) - 1)
    two = (second - second.mean(axis=0)) / np.sqrt(len(second) - 1)
    shared = np.linalg.svd(one @ two.T, compute_uv=False).sum()
    return float(max(0.0, mean + (one**2).sum() + (two**2).sum() - 2 * shared))


def density_and_coverage(
    real: np.ndarray, generated: np.ndarray, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Naeem et al., ICML 2020: both from balls around real features that reach to their k-th
    real neighbour. real (n, d), generated (m, d); n must exceed k."""
    among_real = distances(real, real)
    np.fill_diagonal(among_real, np.inf)
    radius = np.sort(among_real, axis=1)[:, neighbours - 1]
    inside = distances(generated, real) <= radius
    return float(inside.sum(axis=1).mean() / neighbours), float(inside.any(axis=0).mean())


def nearest_distance(samples: np.ndarray, others: np.ndarray) -> float:
    """Mean distance of samples (n, d) to their nearest among others (m, d)."""
    return float(distances(samples, others).min(axis=1).mean())


def effective_dimensions(samples: np.ndarray) -> float:
    """exp of the entropy of the covariance's spectrum: 1 for a line, d for a ball."""
    spectrum = np.linalg.svd(samples - samples.mean(axis=0), compute_uv=False) ** 2
    if spectrum.sum() <= 0:
        return 1.0
    share = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) Euclidean distances."""
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.sqrt(np.maximum(squared, 0))


def linear_accuracy(
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    ridge: float = 0.01,
) -> float:
    """Share of test features that a linear classifier gets right: ridge regression to one-hot
    labels, on features standardised by the training ones. A closed form, so nothing to tune."""
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-8
    x = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    names, codes = np.unique(labels, return_inverse=True)
    penalty = ridge * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(x.T @ x + penalty, x.T @ np.eye(len(names))[codes])
    test = np.column_stack([(test_features - mean) / scale, np.ones(len(test_features))])
    return float((names[(test @ weights).argmax(axis=1)] == test_labels).mean())


def classifier_accuracies(
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    mixtures: Mixtures,
    seed: int = 0,
) -> tuple[float, float]:
    """Accuracy on the test features of a linear classifier that learned from real features, and
    of one that learned from as many generated ones of each class."""
    generated = [
        mixtures.draw(int(label), int((labels == label).sum()), np.random.default_rng([seed, 1, i]))
        for i, label in enumerate(np.unique(labels))
    ]
    names = np.repeat(np.unique(labels), [len(of_class) for of_class in generated])
    return (
        linear_accuracy(features, labels, test_features, test_labels),
        linear_accuracy(np.concatenate(generated), names, test_features, test_labels),
    )
