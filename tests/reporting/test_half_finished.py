"""Grids of which some runs have finished: right numbers, and a word on what they leave out."""

import io
import itertools
import math
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paper_figures.collect import Key
from paper_figures.tables.significance import sentences
from starprompt.reporting import comparison as command
from tests.helpers.half_finished import grid_plan, results_of

PLAN = grid_plan(("a", "b", "c", "joint"), ("x", "y"), 3, bounds=("joint",))
KEYS = [(d.name, m.name, s) for d in PLAN.datasets for m in PLAN.methods for s in PLAN.seeds]
#: ranges that a drawn interval's ends lie in: 2.5% and 97.5% of the draws, give or take five
#: standard errors of 2000 draws
LOW, HIGH = (0.007, 0.043), (0.957, 0.993)

Blocks = list[list[float]]


def entering(scores: dict[Key, float]) -> tuple[dict[str, Blocks], dict[str, Blocks]]:
    """By ranked method, and by ranked method or bound, its scores by data set, in order."""
    rivals = {m.name for m in PLAN.methods if not m.bound}
    places = {(d, s) for d, m, s in scores if m in rivals} or {(d, s) for d, _, s in scores}
    found = {}
    for method in PLAN.methods:
        if all((d, method.name, s) in scores for d, s in places):
            found[method.name] = [
                [scores[d.name, method.name, s] for s in PLAN.seeds if (d.name, s) in places]
                for d in PLAN.datasets
                if any(of == d.name for of, _ in places)
            ]
    return {m: blocks for m, blocks in found.items() if m in rivals}, found


def ranks_of(means: dict[str, float]) -> dict[str, float]:
    """1 for the greatest; ties share the mean of their places."""
    return {
        m: 1 + sum(o > own for o in means.values()) + (list(means.values()).count(own) - 1) / 2
        for m, own in means.items()
    }


def average_ranks(blocks: dict[str, Blocks]) -> dict[str, float]:
    datasets = range(len(next(iter(blocks.values()))))
    each = [ranks_of({m: sum(own[d]) for m, own in blocks.items()}) for d in datasets]
    return {m: fmean(ranks[m] for ranks in each) for m in blocks}


def draws_of(blocks: dict[str, Blocks]) -> list[dict[str, Blocks]]:
    """Every draw of seeds with replacement within each data set, for all methods alike."""
    sizes = [len(block) for block in next(iter(blocks.values()))]
    each = [list(itertools.product(range(n), repeat=n)) for n in sizes]
    return [
        {
            m: [[block[i] for i in drawn] for block, drawn in zip(own, chosen, strict=True)]
            for m, own in blocks.items()
        }
        for chosen in itertools.product(*each)
    ]


def is_interval_of(values: list[float], low: float, high: float) -> bool:
    ordered = np.array(sorted(values))
    ends = [
        np.quantile(ordered, share, method="inverted_cdf") for pair in (LOW, HIGH) for share in pair
    ]
    near = 1e-9
    return ends[0] - near <= low <= ends[1] + near and ends[2] - near <= high <= ends[3] + near


SCORE = st.integers(0, 8).map(float)
half_finished = st.dictionaries(st.sampled_from(KEYS), SCORE, min_size=1, max_size=len(KEYS))
SUBSETS = [own for n in (1, 2, 3) for own in itertools.combinations(PLAN.seeds, n)]
#: two methods have all runs of some seeds of each data set, so that there are ranks to check
two_complete = st.tuples(st.sampled_from(SUBSETS), st.sampled_from([(), *SUBSETS])).flatmap(
    lambda seeds: st.fixed_dictionaries(
        {(d, m, s): SCORE for d, own in zip("xy", seeds, strict=True) for s in own for m in "ab"},
        optional={
            (d, m, s): SCORE
            for d, own in zip("xy", seeds, strict=True)
            for s in own
            for m in ("c", "joint")
        },
    )
)
#: three seeds on one data set, one on the other
UNEQUAL = {
    **{("x", "a", seed): score for seed, score in [(1, 90.0), (2, 90.0), (3, 10.0)]},
    **{("x", "b", seed): 60.0 for seed in PLAN.seeds},
    **{("y", "a", 1): 50.0, ("y", "b", 1): 40.0},
}


@settings(max_examples=60)
@example(UNEQUAL)
@given(half_finished | two_complete)
def test_numbers_of_half_finished_grids_are_those_of_a_small_computation(
    scores: dict[Key, float],
) -> None:
    results = results_of(PLAN, scores)
    found = command.statistics_of(results)
    ranked, averaged = entering(scores)
    draws = draws_of(averaged) if averaged else []

    ranks = found["ranks"].set_index("method")
    assert set(ranks.index) == set(ranked)
    if ranked:
        expected = average_ranks(ranked)
        drawn = [average_ranks({m: draw[m] for m in ranked}) for draw in draws]
        for method, row in ranks.iterrows():
            assert row["rank"] == pytest.approx(expected[str(method)])
            if math.isnan(row["low"]):
                assert max(map(len, ranked[str(method)])) == 1
            else:
                values = [each[str(method)] for each in drawn]
                assert is_interval_of(values, row["low"], row["high"])

    means = found["aggregates"].set_index("method")
    assert set(means.index) == set(averaged)
    for method, row in means.iterrows():
        own = list(itertools.chain(*averaged[str(method)]))
        assert row["runs"] == len(own) and row["mean"] == pytest.approx(fmean(own))
        if not math.isnan(row["mean_low"]):
            values = [fmean(itertools.chain(*draw[str(method)])) for draw in draws]
            assert is_interval_of(values, row["mean_low"], row["mean_high"])
    for (method, at), row in found["profiles"].set_index(["method", "threshold"]).iterrows():
        own = list(itertools.chain(*averaged[method]))
        assert row["share"] == pytest.approx(sum(value >= at for value in own) / len(own))

    reference = command.reference_of(results)
    pairs = found["pairs"].set_index("method")
    for method in (m.name for m in PLAN.methods if m.name != reference):
        both = [
            scores[d, reference, s] - scores[d, method, s]
            for d, m, s in scores
            if m == method and (d, reference, s) in scores
        ]
        assert (method in pairs.index) == bool(both)
        if both:
            assert pairs.loc[method, "pairs"] == len(both)
            assert pairs.loc[method, "difference"] == pytest.approx(fmean(both), abs=1e-12)


@settings(max_examples=20)
@given(half_finished | two_complete)
def test_tables_and_sentences_of_half_finished_grids_are_written(
    scores: dict[Key, float],
) -> None:
    results = results_of(PLAN, scores)
    found = command.statistics_of(results)
    read = pd.read_csv(io.StringIO(found["pairs"].to_csv(index=False)))
    reference = command.reference_of(results)
    said = sentences(PLAN, found["pairs"], reference)
    assert sentences(PLAN, read, reference) == said
    named = {m.title for m in PLAN.methods}
    for table in command.statistics_tables(results, found):
        rows, notes = set(table.cells["Method"]), " ".join(table.notes)
        left = named - rows - ({f"Method {reference}"} if table.name == "pairs" else set())
        assert all(title in notes.partition("Left out")[2] + notes.partition("Bounds")[2]
                   for title in left)  # fmt: skip
