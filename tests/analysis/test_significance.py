"""Ranks, effect sizes and sample sizes against published tables, other libraries and invariants."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from starprompt.analysis import significance
from starprompt.analysis.statistics import wilcoxon_signed_rank
from tests.helpers.scores import scores


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_the_critical_difference_is_demsars(methods: int, q: float) -> None:
    """Demšar 2006, Table 5(a): q for the two-tailed Nemenyi test at 0.05."""
    found = significance.critical_difference(methods, 14)
    assert found == pytest.approx(q * math.sqrt(methods * (methods + 1) / (6 * 14)), abs=1e-3)


@pytest.mark.parametrize(("effect", "pairs"), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_pairs_needed_are_those_of_the_paired_t_tests_power_tables(
    effect: float, pairs: int
) -> None:
    assert significance.pairs_needed(effect, 1.0) == pairs
    assert significance.pairs_needed(-effect, 1.0) == pairs


def test_pairs_needed_at_the_edges() -> None:
    assert significance.pairs_needed(0.0, 1.0) is None
    assert significance.pairs_needed(1.0, math.nan) is None
    assert significance.pairs_needed(1.0, 0.0) == 2
    assert significance.pairs_needed(1e-6, 1.0) is None


@pytest.mark.parametrize("pairs", range(1, 12))
def test_the_least_p_is_that_of_differences_of_one_sign(pairs: int) -> None:
    found = significance.least_p(pairs)
    assert found == pytest.approx(wilcoxon_signed_rank(np.arange(1, pairs + 1)))
    assert (found > 0.05) == (pairs < 6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_the_probability_of_improvement_is_mann_and_whitneys(seed: int, a: int, b: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.integers(0, 5, (3, a)), random.integers(0, 5, (3, b))
    expected = np.mean(
        [
            stats.mannwhitneyu(x, y, method="asymptotic").statistic / (a * b)
            if np.ptp([*x, *y])
            else 0.5
            for x, y in zip(first, second, strict=True)
        ]
    )
    found = significance.probability_of_improvement(first, second)
    assert found == pytest.approx(expected)
    assert found + significance.probability_of_improvement(second, first) == pytest.approx(1)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 5))
def test_average_ranks_add_up_and_ignore_monotone_changes(seed: int, m: int, d: int) -> None:
    values = np.random.default_rng(seed).random((m, d, 1))
    ranks = significance.average_ranks(values)
    assert ranks.sum() == pytest.approx(m * (m + 1) / 2)
    assert significance.average_ranks(np.exp(3 * values)) == pytest.approx(ranks)


def test_the_interquartile_mean_leaves_the_outer_quarters_out() -> None:
    assert significance.interquartile_mean(np.array([-1000.0, 1, 2, 3, 4, 5, 6, 1000])) == 3.5


def test_the_tables_of_a_grid() -> None:
    random = np.random.default_rng(0)
    base = random.normal(80, 5, (1, 4, 3))
    values = np.concatenate([base, base - 2 + random.normal(0, 0.3, (1, 4, 3)), base - 10])
    frame = scores(values)
    ranks = significance.ranks_table(frame)
    assert list(ranks["method"]) == ["m0", "m1", "m2"] and list(ranks["rank"]) == [1, 2, 3]
    assert (ranks["low"] <= ranks["rank"]).all() and (ranks["rank"] <= ranks["high"]).all()
    assert ranks["friedman"].iloc[0] < 0.05
    pairs = significance.pairs_table(frame, "m0").set_index("method")
    assert pairs.loc["m2", "difference"] == pytest.approx(10)
    assert pairs.loc["m1", "low"] < 2 < pairs.loc["m1", "high"] + 0.5
    assert (pairs["pairs"] == 12).all() and (pairs["p_holm"] >= pairs["p"]).all()
    assert pairs.loc["m1", "improvement_low"] <= pairs.loc["m1", "improvement"]
    means = significance.aggregates_table(frame).set_index("method")
    assert means.loc["m0", "mean"] == pytest.approx(base.mean())
    assert (means["iqm_low"] <= means["iqm"]).all() and (means["iqm"] <= means["iqm_high"]).all()
    profiles = significance.profiles_table(frame)
    for _, own in profiles.groupby("method"):
        assert own["share"].is_monotonic_decreasing and own["share"].iloc[0] == 1
        assert (own["low"] <= own["share"]).all() and (own["share"] <= own["high"]).all()


def test_a_method_that_lacks_a_run_is_left_out_of_ranks_and_compared_where_it_can_be() -> None:
    frame = scores(np.arange(12.0).reshape(3, 2, 2)).drop(index=11)
    assert set(significance.ranks_table(frame)["method"]) == {"m0", "m1"}
    pairs = significance.pairs_table(frame, "m0").set_index("method")
    assert pairs.loc["m2", "pairs"] == 3 and math.isnan(pairs.loc["m2", "improvement"])


def test_methods_that_tie_everywhere_rank_alike() -> None:
    assert significance.friedman(np.full((3, 4, 2), 90.0)) == 1


def test_one_seed_has_no_interval() -> None:
    frame = scores(np.array([[[90.0]], [[80.0]]]))
    assert significance.ranks_table(frame)["low"].isna().all()
    pairs = significance.pairs_table(frame, "m0")
    assert pairs["low"].isna().all() and pairs["p"].item() == 1
    assert significance.pairs_table(frame, "absent").empty


def frame_of(**by_method: dict[str, list[float]]) -> pd.DataFrame:
    """Scores by method and data set; seeds count from 1."""
    rows = [
        {"method": method, "dataset": dataset, "seed": seed, "score": score}
        for method, datasets in by_method.items()
        for dataset, values in datasets.items()
        for seed, score in enumerate(values, 1)
    ]
    return pd.DataFrame(rows, columns=["method", "dataset", "seed", "score"])


def test_unequal_seeds_stay_in_their_data_set() -> None:
    """x has the better mean on both data sets; its interval is that of a's draws alone."""
    frame = frame_of(x={"a": [90, 90, 10], "b": [50]}, y={"a": [60, 60, 60], "b": [40]})
    ranks = significance.ranks_table(frame).set_index("method")["rank"]
    assert ranks.to_dict() == {"x": 1, "y": 2}
    ncm = significance.aggregates_table(frame_of(n={"d": [93.87, 93.85, 93.88], "p": [100.0]}))
    row = ncm.iloc[0]
    assert row["runs"] == 4 and row["mean"] == pytest.approx(95.4)
    assert (3 * 93.85 + 100) / 4 <= row["mean_low"] <= row["mean_high"] <= (3 * 93.88 + 100) / 4
    profiles = significance.profiles_table(frame).query("method == 'x'").set_index("threshold")
    assert profiles.loc[10, "share"] == 1 and profiles.loc[90, "share"] == 0.5
    assert (profiles["low"][profiles.index <= 50] >= 0.25).all(), "b's run is in every draw"


def test_seeds_of_another_name_in_each_data_set_are_not_mixed() -> None:
    frame = frame_of(x={"a": [9.0, 1.0], "b": [5.0, 5.0]}, y={"a": [4.0, 4.0], "b": [6.0, 6.0]})
    frame.loc[frame["dataset"] == "b", "seed"] += 1
    ranks = significance.ranks_table(frame).set_index("method")
    assert ranks["rank"].to_dict() == {"x": 1.5, "y": 1.5}
    assert (ranks["low"] < ranks["high"]).all()


@pytest.mark.parametrize(
    "frame",
    [
        frame_of(),
        frame_of(a={"d": [1.0, 2.0]}, b={"d": [1.0]}).drop(index=0),
    ],
    ids=["no run", "no method is complete"],
)
def test_tables_of_nothing_have_their_columns(frame: pd.DataFrame) -> None:
    assert list(significance.ranks_table(frame)) == list(significance.RANKS)
    assert list(significance.aggregates_table(frame)) == list(significance.AGGREGATES)
    assert list(significance.profiles_table(frame)) == list(significance.PROFILES)
    pairs = significance.pairs_table(frame, "a")
    assert list(pairs) == list(significance.PAIRS) and pairs.empty


@pytest.mark.parametrize("reference", ["a", "absent"])
def test_a_method_alone_has_no_pairs(reference: str) -> None:
    pairs = significance.pairs_table(frame_of(a={"d": [1.0, 2.0]}), reference)
    assert list(pairs) == list(significance.PAIRS) and pairs.empty
