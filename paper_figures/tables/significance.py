"""Tables, and sentences that a paper could take, on whether differences are real."""

import math
from collections.abc import Iterable

import pandas as pd

from paper_figures.collect import KEYS, Results
from paper_figures.plan import Plan
from paper_figures.tables.table import NOTHING, Table, number, with_interval
from starprompt.analysis.significance import MOST_PAIRS, POWER

#: p-values below it count as shown
ALPHA = 0.05
#: how many missing runs of a method a note names before it only counts them
NAMED = 3

PAIRS_HEADINGS = (
    *("Method", "Difference [95%]", "Effect", "P(improvement)", "p", "Holm", "Pairs", "Needed"),
)
RANKS_HEADINGS = ("Method", "Average rank", "Mean [%]", "IQM [%]")


def pairs_table(plan: Plan, pairs: pd.DataFrame, reference: str) -> Table:
    """The reference against every other method; ``pairs.csv`` of the statistics.

    A note names the methods that share no run with the reference.
    """
    titles = {m.name: m.title for m in plan.methods}
    rows = [
        {
            "Method": titles[str(row.method)],
            "Difference [95%]": with_interval(row.difference, row.low, row.high, 2),
            "Effect": number(row.effect, 2, sign=True),
            "P(improvement)": _with_bounds(
                row.improvement, row.improvement_low, row.improvement_high
            ),
            "p": p_value(row.p),
            "Holm": p_value(row.p_holm),
            "Pairs": str(row.pairs),
            "Needed": needed(row.needed),
        }
        for row in pairs.itertuples()
    ]
    compared = {reference, *pairs["method"]}
    alone = [m.title for m in plan.methods if m.name not in compared]
    caption = f"{titles[reference]} against every other method [points]. {plan.title}."
    return Table(
        "pairs",
        caption,
        pd.DataFrame(rows, columns=list(PAIRS_HEADINGS)),
        pairs,
        [
            "Difference: mean over pairs of (data set, seed), positive where "
            f"{titles[reference]} is better; Student's interval. Effect: the difference over its "
            "own deviation. P(improvement): chance that its run beats one of the other method.",
            "p: exact two-sided Wilcoxon test, corrected by Holm for the number of methods. "
            f"Needed: pairs that would show this difference with a chance of {POWER:.0%}.",
            floor_sentence(pairs),
            *(
                [f"Left out, without a (data set, seed) that both have: {'; '.join(alone)}."]
                if alone
                else []
            ),
        ],
    )


def ranks_table(found: Results, ranks: pd.DataFrame, aggregates: pd.DataFrame) -> Table:
    """Average ranks, mean and interquartile mean; ``ranks.csv`` and ``aggregates.csv``.

    Notes name the methods and runs that are left out, and why.
    """
    plan = found.plan
    titles = {m.name: m.title for m in plan.methods}
    by_name = aggregates.set_index("method")
    rows = []
    for row in ranks.itertuples():
        own = by_name.loc[row.method]
        rows.append(
            {
                "Method": titles[str(row.method)],
                "Average rank": _with_bounds(row.rank, row.low, row.high),
                "Mean [%]": _with_bounds(own["mean"], own["mean_low"], own["mean_high"]),
                "IQM [%]": _with_bounds(own["iqm"], own["iqm_low"], own["iqm_high"]),
            }
        )
    first = ranks.iloc[0] if len(ranks) else None
    notes = [
        "Ranks are of means over seeds, averaged over data sets. IQM: interquartile mean, the mean "
        "of the middle half of all (data set, seed). Intervals (95%) are by drawing seeds within "
        "each data set.",
    ]
    if first is not None and not math.isnan(first["critical_difference"]):
        notes.append(
            f"Average ranks that differ by {number(first['critical_difference'], 2)} or more "
            f"differ at the 5% level (Nemenyi, {int(first['datasets'])} data "
            f"set{'s' if first['datasets'] != 1 else ''})."
        )
    if first is not None:
        notes.append(
            f"Friedman's test that all rank alike: p = {p_value(first['friedman'])}."
            if not math.isnan(first["friedman"])
            else "Friedman's test needs two data sets and three methods."
        )
    return Table(
        "ranks",
        f"Average ranks and robust means. {plan.title}.",
        pd.DataFrame(rows, columns=list(RANKS_HEADINGS)),
        ranks,
        [*notes, *_left_out(found)],
    )


def _left_out(found: Results) -> list[str]:
    """What the ranks are without: runs of the plan, methods that lack a run, bounds."""
    plan = found.plan
    bounds = [m for m in plan.methods if m.bound]
    rivals = [m for m in plan.methods if not m.bound]
    own: dict[str, set[tuple[str, int]]] = {m.name: set() for m in plan.methods}
    for dataset, method, seed in found.runs[list(KEYS)].itertuples(index=False, name=None):
        own[method].add((dataset, seed))
    used = set().union(*(own[m.name] for m in rivals))
    notes = []
    if used and len(used) < len(plan.datasets) * len(plan.seeds):
        notes.append(
            f"Not all runs of the plan have finished; the ranks are over {_places(plan, used)}."
        )
        if len({sum(of == d.name for of, _ in used) for d in plan.datasets} - {0}) > 1:
            notes.append(
                "The data sets have unequal numbers of seeds; in the mean and the IQM every run "
                "weighs the same."
            )
    gone = [
        f"{m.title} ({_lacks(found, m.name, used - own[m.name])})"
        for m in rivals
        if not own[m.name] or used - own[m.name]
    ]
    if gone:
        notes.append(
            f"Left out: {'; '.join(gone)}. A method enters with every (data set, seed) that "
            "another one here has."
        )
    if bounds:
        notes.append(f"Bounds have no rank: {'; '.join(m.title for m in bounds)}.")
    return notes


def _lacks(found: Results, method: str, lacking: set[tuple[str, int]]) -> str:
    """Which runs a method lacks, and why."""
    if method not in set(found.runs["method"]):
        why = dict.fromkeys(why for (_, of, _), why in found.missing.items() if of == method)
        return f"no run has finished: {', '.join(why)}" if why else "no run has finished"
    if len(lacking) > NAMED:
        return f"lacks {len(lacking)} runs"
    why = dict.fromkeys(
        found.missing[dataset, method, seed]
        for dataset, seed in sorted(lacking)
        if (dataset, method, seed) in found.missing
    )
    said = f"lacks {_places(found.plan, lacking)}"
    return f"{said}: {', '.join(why)}" if why else said


def _places(plan: Plan, runs: Iterable[tuple[str, int]]) -> str:
    """(data set, seed) in the plan's order: Photos, seeds 1, 2; Digits, seed 1."""
    there = set(runs)
    said = []
    for dataset in plan.datasets:
        seeds = [str(seed) for seed in plan.seeds if (dataset.name, seed) in there]
        if seeds:
            said.append(f"{dataset.title}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}")
    return "; ".join(said)


def sentences(plan: Plan, pairs: pd.DataFrame, reference: str) -> list[str]:
    """One sentence a comparison with the reference, the nearest rival first; none is typed."""
    titles = {m.name: m.title for m in plan.methods}
    rivals = {m.name for m in plan.methods if not m.block}
    known = pairs[pairs["method"].isin(rivals)]
    known = known.reindex(known["difference"].abs().sort_values(kind="stable").index)
    return [_sentence(titles[reference], titles[str(r.method)], r) for r in known.itertuples()]


def _sentence(ours: str, theirs: str, row: object) -> str:
    difference, pairs = row.difference, row.pairs  # type: ignore[attr-defined]
    size = number(abs(difference), 2)
    relation = "above" if difference > 0 else "below"
    start = f"{ours} ends {size} points {relation} {theirs}"
    if not float(size):
        start = f"{ours} and {theirs} end level"
    if pairs < 2:
        return f"{start}; a single pair of runs says nothing about chance."
    low, high = row.low, row.high  # type: ignore[attr-defined]
    interval = f"95% interval {number(low, 2, sign=True)} to {number(high, 2, sign=True)}"
    p, least = row.p_holm, row.least_p  # type: ignore[attr-defined]
    text = f"{start} ({interval}, {pairs} pairs; Wilcoxon p = {p_value(p)} after Holm)"
    if least > ALPHA:
        text += f"; {pairs} pairs can't give an uncorrected p below {p_value(least)}"
    if p < ALPHA:
        verdict = "; the difference is unlikely to be chance"
    elif low > 0 or high < 0:
        verdict = ", but the interval leaves zero out"
    else:
        verdict = ", and the interval holds zero: it may be chance"
    text += verdict
    if p >= ALPHA and float(size):
        want = needed(row.needed)  # type: ignore[attr-defined]
        if want != NOTHING:
            text += f"; a paired t test would take about {want} pairs to show this difference"
    return f"{text}."


def floor_sentence(pairs: pd.DataFrame) -> str:
    """What the number of pairs can show at all."""
    if pairs.empty:
        return "There is nothing to compare."
    counts = sorted(set(pairs["pairs"]))
    said = "; ".join(
        f"{n} pair{'s' if n != 1 else ''}: p = {p_value(min(1.0, 2.0 ** (1 - n)))}" for n in counts
    )
    return f"Least p that the exact Wilcoxon test can give: {said}; below 0.05 from 6 pairs on."


def p_value(p: float) -> str:
    """A p-value for reading."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}".rstrip("0").rstrip(".")


def needed(pairs: float | None) -> str:
    """How many pairs, for reading."""
    if pairs is None or math.isnan(pairs):
        return NOTHING
    return number(pairs, 0) if pairs <= MOST_PAIRS else NOTHING


def _with_bounds(value: float, low: float, high: float) -> str:
    text = number(value, 2)
    return text if math.isnan(low) else f"{text} [{number(low, 2)}, {number(high, 2)}]"
