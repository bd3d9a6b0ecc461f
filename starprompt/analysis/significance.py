"""Is a difference real, over data sets and seeds? Ranks, effect sizes, robust means, sample sizes.

Scores are a frame with the columns method, dataset, seed and score (accuracy in percent, higher is
better). Only methods that have every (data set, seed) of the frame enter; see :func:`complete`.
Data sets may have unequal numbers of seeds: seeds are averaged and drawn within each data set, and
every run weighs the same in what is over all runs. Where nothing enters, a table has its columns
and no row.

Sources: Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006):
average ranks, Friedman's test, Nemenyi's critical difference (his Sec. 3.2.2). Agarwal et al.,
"Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021: interquartile
mean, performance profile, probability of improvement, bootstrap stratified by data set (their
Sec. 4).
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from starprompt.analysis.ablation import LEVEL, paired_interval
from starprompt.analysis.statistics import holm, wilcoxon_signed_rank

RESAMPLES = 2_000
#: chance of finding a difference that is there, in :func:`pairs_needed`
POWER = 0.8
#: most pairs that :func:`pairs_needed` looks at
MOST_PAIRS = 10_000
#: what names a run, beside its method
RUN = ["dataset", "seed"]
#: columns of the tables
RANKS = ("method", "rank", "low", "high", "critical_difference", "friedman", "datasets")
AGGREGATES = ("method", "runs", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high")
PROFILES = ("method", "threshold", "share", "low", "high")
PAIRS = (
    *("method", "pairs", "difference", "low", "high", "deviation", "effect", "p", "least_p"),
    *("needed", "improvement", "improvement_low", "improvement_high", "p_holm"),
)


def complete(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of the methods that have all (data set, seed) of the frame."""
    pairs = scores[RUN].drop_duplicates()
    counts = scores.groupby("method")["score"].count()
    return scores[scores["method"].isin(counts.index[counts == len(pairs)])]


def at_runs_of(scores: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``scores`` at a (data set, seed) that ``others`` has."""
    places, wanted = (pd.MultiIndex.from_frame(frame[RUN]) for frame in (scores, others))
    return scores[places.isin(wanted)]


def cube(scores: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Methods in the frame's order, and their scores (methods, data sets, seeds).

    A data set with fewer seeds than another ends in NaN. Seeds rise; the n-th seed of one data set
    need not be that of another.

    Raises ValueError when a method lacks a run that another has.
    """
    methods = list(dict.fromkeys(scores["method"]))
    wide = scores.pivot(index="method", columns=RUN, values="score")
    wide = wide.sort_index(axis=1).reindex(methods)
    if wide.isna().any().any():
        raise ValueError("every method must have the same seeds of a data set")
    blocks = [
        wide[dataset].to_numpy(np.float64)
        for dataset in dict.fromkeys(wide.columns.get_level_values(0))
    ]
    most = max((block.shape[1] for block in blocks), default=0)
    values = np.full((len(methods), len(blocks), most), math.nan)
    for at, block in enumerate(blocks):
        values[:, at, : block.shape[1]] = block
    return methods, values


def average_ranks(values: np.ndarray) -> np.ndarray:
    """(..., M) mean over data sets of the rank of each method's mean over seeds; 1 is the best.

    values (..., M, D, S) scores, as :func:`cube` pads them; ties share their mean rank.
    """
    ranks: np.ndarray = stats.rankdata(-np.nanmean(values, axis=-1), axis=-2)
    return ranks.mean(axis=-1)


def critical_difference(methods: int, datasets: int, level: float = LEVEL) -> float:
    """Nemenyi's: two average ranks that lie further apart differ at this level.

    q sqrt(k (k + 1) / (6 N)), q the studentised range's quantile over sqrt(2).
    """
    if methods < 2:
        return math.nan
    q = float(stats.studentized_range.ppf(level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def friedman(values: np.ndarray) -> float:
    """p-value of Friedman's test that all methods rank alike; NaN where it says nothing.

    It needs three methods and two data sets. 1 where all tie on every data set.
    """
    means = np.nanmean(values, axis=2)
    if len(means) < 3 or means.shape[1] < 2:
        return math.nan
    if (means == means[0]).all():  # the statistic would be 0 / 0
        return 1.0
    return float(stats.friedmanchisquare(*means).pvalue)


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """(...) mean of the middle half of all scores.

    values (..., D, S), as :func:`cube` pads them.
    """
    return np.asarray(stats.trim_mean(_flat(values), 0.25, axis=-1))


def probability_of_improvement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(...) chance that a run of the first beats one of the second, ties half; mean over data sets.

    first (..., D, S), second (..., D, S') scores.
    """
    greater = first[..., :, None] > second[..., None, :]
    equal = first[..., :, None] == second[..., None, :]
    return np.asarray((greater + 0.5 * equal).mean(axis=(-3, -2, -1)))


def profile(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(..., thresholds) share of all (data set, seed) whose score is at least each threshold;
    values (..., D, S), as :func:`cube` pads them."""
    shares: np.ndarray = (_flat(values)[..., None] >= thresholds).mean(axis=-2)
    return shares


def _flat(values: np.ndarray) -> np.ndarray:
    """(..., runs) without the padding, which is the same for all leading axes."""
    flat = values.reshape(*values.shape[:-2], -1)
    there = ~np.isnan(flat).reshape(-1, flat.shape[-1]).any(axis=0)
    return flat if there.all() else flat[..., there]


def stratified(
    statistic: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """``statistic`` of ``resamples`` draws of seeds, with replacement, within each data set.

    values     (..., D, S), as :func:`cube` pads them; all leading axes are drawn alike, so that
               pairs stay pairs
    statistic  of (resamples, ..., D, S) at once; leading axes are not its to reduce
    """
    random = np.random.default_rng(0)
    datasets, seeds = values.shape[-2:]
    if seeds == 1:  # every draw is the same
        resamples = 1
    counts = (~np.isnan(values)).reshape(-1, datasets, seeds).all(axis=0).sum(axis=-1)
    if (counts == seeds).all():
        columns = random.integers(seeds, size=(resamples, datasets, seeds))
    else:  # the padding stays where it is
        columns = np.tile(np.arange(seeds), (resamples, datasets, 1))
        for at, count in enumerate(counts):
            columns[:, at, :count] = random.integers(count, size=(resamples, count))
    drawn = values[..., np.arange(datasets)[:, None], columns]
    return statistic(np.moveaxis(drawn, -3, 0))


def _interval(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def ranks_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a method, best first: rank, low, high; critical_difference, friedman, datasets.

    The interval is that of the draws of seeds; a single seed has none (NaN).
    """
    methods, values = cube(complete(scores))
    if not methods:
        return pd.DataFrame(columns=list(RANKS))
    low, high = (
        _interval(stratified(average_ranks, values)) if values.shape[2] > 1 else _none(values)
    )
    frame = pd.DataFrame(
        {"method": methods, "rank": average_ranks(values), "low": low, "high": high}
    )
    frame["critical_difference"] = critical_difference(len(methods), values.shape[1])
    frame["friedman"] = friedman(values)
    frame["datasets"] = values.shape[1]
    return frame.sort_values("rank", kind="stable", ignore_index=True)


def _none(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(values), math.nan), np.full(len(values), math.nan)


def aggregates_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a method: mean and interquartile mean over (data set, seed), with their intervals."""
    methods, values = cube(complete(scores))
    rows = []
    for method, own in zip(methods, values, strict=True):
        row: dict[str, object] = {"method": method, "runs": int(np.isfinite(own).sum())}
        statistics: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "mean": lambda drawn: np.asarray(np.nanmean(drawn, axis=(-2, -1))),
            "iqm": interquartile_mean,
        }
        for name, statistic in statistics.items():
            row[name] = float(statistic(own))
            draws = stratified(statistic, own)
            alone = own.shape[1] < 2
            row[f"{name}_low"], row[f"{name}_high"] = (
                (math.nan, math.nan) if alone else map(float, _interval(draws))
            )
        rows.append(row)
    return pd.DataFrame(rows, columns=list(AGGREGATES))


def profiles_table(scores: pd.DataFrame, points: int = 101) -> pd.DataFrame:
    """One row a method and threshold: share of runs at or above it, low, high."""
    methods, values = cube(complete(scores))
    if not methods:
        return pd.DataFrame(columns=list(PROFILES))
    low, high = math.floor(np.nanmin(values)), math.ceil(np.nanmax(values))
    thresholds = np.linspace(low, high, points)
    frames = []
    for method, own in zip(methods, values, strict=True):
        draws = stratified(lambda v: profile(v, thresholds), own, 500)
        lower, upper = _interval(draws)
        frames.append(
            pd.DataFrame(
                {
                    "method": method,
                    "threshold": thresholds,
                    "share": profile(own, thresholds),
                    "low": lower,
                    "high": upper,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def least_p(pairs: int) -> float:
    """The smallest two-sided p-value that the exact Wilcoxon test can give for so many pairs."""
    return min(1.0, 2.0 ** (1 - pairs))


def pairs_needed(difference: float, deviation: float, level: float = LEVEL) -> int | None:
    """How many pairs show a difference of this size with a chance of :data:`POWER`.

    difference, deviation  mean and sample deviation of the paired differences

    By the paired t-test's power (noncentral t). None for no difference, or more than
    :data:`MOST_PAIRS`; 2 where the differences do not deviate.
    """
    if difference == 0 or math.isnan(difference) or math.isnan(deviation):
        return None
    if deviation == 0:
        return 2
    effect = abs(difference) / deviation

    def power(n: int) -> float:
        limit = stats.t.ppf((1 + level) / 2, n - 1)
        return float(stats.nct.sf(limit, n - 1, effect * math.sqrt(n)))

    low, high = 1, 2
    while power(high) < POWER:
        low, high = high, 2 * high
        if high > 2 * MOST_PAIRS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high if high <= MOST_PAIRS else None


def pairs_table(scores: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The reference against every other method, over their common (data set, seed).

    One row a method: pairs; difference (reference minus method) with Student's interval low, high;
    effect (difference over the deviation of the differences); improvement (chance that a run of
    the reference beats one of the method, where they share equally many seeds of each data set)
    with its interval;
    p (exact Wilcoxon), p_holm, least_p; needed (pairs that would show the difference).
    """
    by_method = {
        str(method): own.set_index(["dataset", "seed"])["score"]
        for method, own in scores.groupby("method", sort=False)
    }
    if reference not in by_method:
        return pd.DataFrame(columns=list(PAIRS))
    rows = []
    for method, theirs in by_method.items():
        if method == reference:
            continue
        both = pd.concat([by_method[reference], theirs], axis=1, keys=["ours", "theirs"]).dropna()
        if both.empty:
            continue
        differences = (both["ours"] - both["theirs"]).to_numpy()
        deviation = float(differences.std(ddof=1)) if len(differences) > 1 else math.nan
        low, high = paired_interval(differences) or (math.nan, math.nan)
        mean = float(differences.mean())
        row = {
            "method": method,
            "pairs": len(differences),
            "difference": mean,
            "low": low,
            "high": high,
            "deviation": deviation,
            "effect": mean / deviation if deviation else math.nan,
            "p": wilcoxon_signed_rank(differences),
            "least_p": least_p(len(differences)),
            "needed": pairs_needed(mean, deviation),
        }
        rows.append({**row, **_improvement(both)})
    frame = pd.DataFrame(rows, columns=list(PAIRS))
    adjusted = holm(dict(zip(frame["method"], frame["p"], strict=True)))
    frame["p_holm"] = frame["method"].map(adjusted)
    return frame


def _improvement(both: pd.DataFrame) -> dict[str, float]:
    none = {"improvement": math.nan, "improvement_low": math.nan, "improvement_high": math.nan}
    counts = both.groupby("dataset").size()
    if counts.nunique() != 1:
        return none
    values = np.stack(
        [both[side].sort_index().to_numpy().reshape(len(counts), -1) for side in ("ours", "theirs")]
    )
    found = float(probability_of_improvement(*values))
    if values.shape[2] < 2:
        return {**none, "improvement": found}
    # Methods lead here, draws in what is given to the statistic.
    draws = stratified(lambda v: probability_of_improvement(v[:, 0], v[:, 1]), values, 1000)
    low, high = _interval(draws)
    return {"improvement": found, "improvement_low": float(low), "improvement_high": float(high)}
