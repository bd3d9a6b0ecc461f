"""Whether a difference between methods is real: spread over seeds, and paired comparisons.

Scores are accuracies in percent by (data set, seed). Two methods are compared where both have run:
the difference of each pair is free of what the data set and the seed's class order do to both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Pair = tuple[str, int]
Scores = Mapping[Pair, float]

LEVEL = 0.95
RESAMPLES = 10_000


def mean_and_deviation(values: ArrayLike) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); no deviation for a single value.

    Raises ValueError for no values or one that is not finite.
    """
    array = _finite(values)
    if not len(array):
        raise ValueError("there is no value to take a mean of")
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None


@dataclass(frozen=True)
class PairedDifferences:
    """``values[i]`` is first minus second at ``pairs[i]``; ``unpaired`` had only one of them."""

    pairs: tuple[Pair, ...]
    values: tuple[float, ...]
    unpaired: tuple[Pair, ...]


def paired_differences(first: Scores, second: Scores) -> PairedDifferences:
    """Differences over the (data set, seed) that both methods have, in sorted order."""
    pairs = tuple(sorted(first.keys() & second.keys()))
    values = tuple(float(first[pair]) - float(second[pair]) for pair in pairs)
    return PairedDifferences(pairs, values, tuple(sorted(first.keys() ^ second.keys())))


def bootstrap_interval(
    differences: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean difference; None for fewer than two.

    Deterministic for a seed. With the three seeds of one data set the interval is no wider than
    the three values: it says little, and so it should be read.
    """
    values = _finite(differences)
    if len(values) < 2:
        return None
    rows = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[rows].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def wilcoxon_signed_rank(differences: ArrayLike) -> float:
    """Two-sided p-value of the Wilcoxon signed-rank test that differences are symmetric about 0.

    Exact up to 200 differences, also with ties. Zeros are left out; 1 if nothing else is there.
    n differences of one sign have p = 2^(1-n): three seeds alone never reach 0.05, six pairs do.
    """
    values = _finite(differences)
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(values) <= _EXACT_UP_TO:
        return _exact_signed_rank(values)
    return float(stats.wilcoxon(values, method="approx", correction=True).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values, which bound the chance of any false finding.

    The i-th smallest of m (from 0) becomes max over j <= i of min(1, (m - j) * p_j).
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class Comparison:
    """One method against the reference: positive means the reference is better.

    difference  mean of reference minus method, in the scores' unit
    interval    bootstrap interval of that mean, None for fewer than two pairs
    p_value     Wilcoxon signed-rank, two-sided
    p_holm      the same, corrected for the number of methods compared
    """

    reference: str
    method: str
    n_pairs: int
    n_unpaired: int
    difference: float
    interval: tuple[float, float] | None
    p_value: float
    p_holm: float


def compare(scores: Mapping[str, Scores], reference: str) -> list[Comparison]:
    """Compare ``reference`` with every other method that shares a (data set, seed) with it.

    scores  by method, then by (data set, seed)

    In the order of ``scores``; methods without a common pair are left out. Raises KeyError when
    the reference has no scores.
    """
    found = {
        name: paired_differences(scores[reference], theirs)
        for name, theirs in scores.items()
        if name != reference
    }
    found = {name: paired for name, paired in found.items() if paired.pairs}
    p_values = {name: wilcoxon_signed_rank(paired.values) for name, paired in found.items()}
    corrected = holm(p_values)
    return [
        Comparison(
            reference=reference,
            method=name,
            n_pairs=len(paired.pairs),
            n_unpaired=len(paired.unpaired),
            difference=math.fsum(paired.values) / len(paired.values),
            interval=bootstrap_interval(paired.values),
            p_value=p_values[name],
            p_holm=corrected[name],
        )
        for name, paired in found.items()
    ]


#: up to so many differences the null distribution is counted out; beyond, the normal one is close
_EXACT_UP_TO = 200


def _exact_signed_rank(values: np.ndarray) -> float:
    """Exact two-sided p-value given the ranks at hand, tied or not.

    Under the null every sign is a fair coin, so the sum of positive ranks is distributed as the
    product of (1 + x^rank) / 2. Doubled ranks are whole numbers even when ties halve them. (SciPy's
    exact method knows no ties.)
    """
    ranks = np.rint(2 * stats.rankdata(np.abs(values))).astype(int)
    total = int(ranks.sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[: total + 1 - rank]
        chances = (chances + shifted) / 2
    positive = int(ranks[values > 0].sum())
    smaller = min(positive, total - positive)
    return float(min(1.0, 2 * chances[: smaller + 1].sum()))


def _finite(values: ArrayLike | Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(array).all():
        raise ValueError("a score is not finite")
    return array
