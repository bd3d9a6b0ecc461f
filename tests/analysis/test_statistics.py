"""Statistics between methods, against closed forms and full enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from starprompt.analysis.statistics import (
    bootstrap_interval,
    compare,
    holm,
    mean_and_deviation,
    paired_differences,
    wilcoxon_signed_rank,
)

numbers = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))
p_values = st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=6)


def test_mean_and_sample_deviation() -> None:
    assert mean_and_deviation([2.0, 4.0, 9.0]) == (5.0, pytest.approx(13**0.5))
    assert mean_and_deviation([3.0]) == (3.0, None)
    with pytest.raises(ValueError, match="no value"):
        mean_and_deviation([])
    with pytest.raises(ValueError, match="not finite"):
        mean_and_deviation([1.0, float("nan")])


def test_differences_pair_what_both_have() -> None:
    first = {("b", 1): 5.0, ("a", 2): 1.0, ("a", 1): 3.0}
    second = {("a", 1): 2.0, ("b", 1): 9.0, ("c", 1): 0.0}
    paired = paired_differences(first, second)
    assert paired.pairs == (("a", 1), ("b", 1))
    assert paired.values == (1.0, -4.0)
    assert paired.unpaired == (("a", 2), ("c", 1))


# bootstrap


def test_the_interval_of_two_values_is_the_two_values() -> None:
    """Each is drawn twice with probability 1/4, more than the tail of 1/40 that is cut."""
    assert bootstrap_interval([1.0, 3.0]) == (1.0, 3.0)


def test_the_interval_of_a_half_cuts_what_it_should() -> None:
    """Of means 1, 2, 3 with chances 1/4, 1/2, 1/4 the middle 40% is the middle one."""
    assert bootstrap_interval([1.0, 3.0], level=0.4) == (2.0, 2.0)


def test_the_interval_approaches_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(2.0, 3.0, size=400)
    low, high = bootstrap_interval(values) or (0.0, 0.0)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_one_difference_has_no_interval() -> None:
    assert bootstrap_interval([1.0]) is None
    assert bootstrap_interval([]) is None


@given(st.lists(numbers, min_size=2, max_size=8), numbers)
def test_the_interval_lies_within_the_values_and_moves_with_them(
    values: list[float], shift: float
) -> None:
    low, high = bootstrap_interval(values, resamples=200) or (0.0, 0.0)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    moved = bootstrap_interval(np.asarray(values) + shift, resamples=200)
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-9)


# Wilcoxon


@pytest.mark.parametrize("n", range(1, 12))
def test_differences_of_one_sign_have_two_chances_of_all(n: int) -> None:
    values = np.arange(1, n + 1) * 1.5
    assert wilcoxon_signed_rank(values) == pytest.approx(2.0 ** (1 - n))
    assert wilcoxon_signed_rank(-values) == pytest.approx(2.0 ** (1 - n))
    assert wilcoxon_signed_rank(np.ones(n)) == pytest.approx(2.0 ** (1 - n))


def test_no_difference_is_no_finding() -> None:
    assert wilcoxon_signed_rank([]) == 1.0
    assert wilcoxon_signed_rank([0.0, 0.0]) == 1.0
    assert wilcoxon_signed_rank([1.0, -1.0]) == 1.0


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_p_value_is_that_of_trying_all_signs(values: list[int]) -> None:
    kept = np.array([value for value in values if value])
    ranks = stats.rankdata(np.abs(kept))
    middle = ranks.sum() / 2
    observed = abs(ranks[kept > 0].sum() - middle)
    sums = [ranks @ np.array(signs) for signs in product((0, 1), repeat=len(kept))]
    expected = np.mean([abs(total - middle) >= observed - 1e-9 for total in sums])
    assert wilcoxon_signed_rank(values) == pytest.approx(expected)


@given(st.lists(numbers.filter(bool), min_size=1, max_size=25, unique_by=abs))
def test_without_ties_it_is_scipys_exact_test(values: list[float]) -> None:
    expected = stats.wilcoxon(values, method="exact").pvalue
    assert wilcoxon_signed_rank(values) == pytest.approx(expected)


def test_exact_and_normal_meet() -> None:
    values = np.random.default_rng(1).normal(0.1, 1.0, size=201)
    exact = stats.wilcoxon(values, method="exact").pvalue
    assert 0.001 < exact < 0.9
    assert wilcoxon_signed_rank(values) == pytest.approx(exact, rel=0.01)


# Holm


def test_a_worked_example_of_holm() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == pytest.approx({"a": 1.0, "b": 1.0})
    assert holm({}) == {}


@given(p_values)
def test_holm_lies_between_no_correction_and_bonferroni(raw: dict[str, float]) -> None:
    corrected = holm(raw)
    assert list(corrected) == list(raw)
    for name, value in raw.items():
        assert value <= corrected[name] <= min(1.0, len(raw) * value)
    order = sorted(raw, key=lambda name: raw[name])
    ordered = [corrected[name] for name in order]
    assert ordered == sorted(ordered)


# all together


def test_a_comparison_of_three_methods() -> None:
    pairs = [(data, seed) for data in "ab" for seed in (1, 2, 3)]
    ours = {pair: 80.0 + i for i, pair in enumerate(pairs)}
    worse = {pair: score - 1 - i for i, (pair, score) in enumerate(ours.items())}
    partial = {pair: ours[pair] + (1 if pair[1] == 1 else -1) for pair in pairs if pair[0] == "a"}
    elsewhere = {("z", 1): 3.0}
    scores = {"worse": worse, "ours": ours, "partial": partial, "elsewhere": elsewhere}
    first, second = compare(scores, "ours")
    assert (first.method, first.n_pairs, first.n_unpaired) == ("worse", 6, 0)
    assert first.difference == pytest.approx(3.5)
    assert first.interval is not None and 1 < first.interval[0] < 3.5 < first.interval[1] < 6
    assert first.p_value == pytest.approx(2**-5) and first.p_holm == pytest.approx(2**-4)
    assert (second.method, second.n_pairs, second.n_unpaired) == ("partial", 3, 3)
    assert second.difference == pytest.approx(1 / 3)
    assert second.p_value == second.p_holm == 1.0
    with pytest.raises(KeyError):
        compare(scores, "unknown")
