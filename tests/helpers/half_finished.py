"""Grids of which some runs have finished, with scores of the test's own."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from paper_figures.collect import KEYS, NOT_RUN, Key, Results
from paper_figures.plan import DatasetColumn, MethodRow, Plan

METRIC = "final_average_accuracy"


def grid_plan(
    methods: tuple[str, ...], datasets: tuple[str, ...], seeds: int, bounds: tuple[str, ...] = ()
) -> Plan:
    """A plan whose titles are "Method x" and "Set y"; ``bounds`` are among its methods."""
    rows = tuple(MethodRow(m, f"Method {m}", "It is.", bound=m in bounds) for m in methods)
    columns = tuple(DatasetColumn(d, f"Set {d}") for d in datasets)
    return Plan("t", "T", Path(), rows, columns, tuple(range(1, seeds + 1)))


def results_of(plan: Plan, scores: Mapping[Key, float]) -> Results:
    """Results with these final accuracies and without records; other runs of the plan are missing.

    scores  by (dataset, method, seed)
    """
    keys = [(d.name, m.name, s) for d in plan.datasets for m in plan.methods for s in plan.seeds]
    runs = pd.DataFrame(
        [(*key, scores[key]) for key in keys if key in scores], columns=[*KEYS, METRIC]
    )
    missing = {key: NOT_RUN for key in keys if key not in scores}
    return Results(plan, {}, runs, pd.DataFrame(columns=list(KEYS)), missing)
