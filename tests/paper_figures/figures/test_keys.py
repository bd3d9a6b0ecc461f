"""Figures of keys: confusions in percent, empty beyond the tasks seen, a column a kind of keys."""

import numpy as np
import pandas as pd
import pytest

from paper_figures.analyses import KEY_KINDS, Analyses
from paper_figures.figures.keys import _shares, _ticks, confusion_by_task, kinds_of_keys
from paper_figures.style import shortened


def test_shares_are_means_over_seeds_with_true_tasks_as_rows() -> None:
    frame = pd.DataFrame(
        {
            "seed": [1, 2, 1, 2],
            "true_task": [0, 0, 0, 0],
            "chosen_task": [0, 0, 1, 1],
            "share": [0.9, 0.7, 0.1, 0.3],
        }
    )
    shares = _shares(frame, 3)
    assert shares[0, :2].tolist() == pytest.approx([80, 20])
    assert np.isnan(shares[1:]).all()
    assert np.isnan(shares[0, 2])


def test_each_kind_of_keys_has_a_panel_a_task(analyses: Analyses) -> None:
    dataset = analyses.plan.datasets[0].name
    frame = analyses.table("confusion", dataset)
    kinds = set(frame["method"]) & set(KEY_KINDS)
    tasks = frame["true_task"].max() + 1
    figure = confusion_by_task(analyses, dataset)
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == len(kinds) * tasks
    for task, axis in enumerate(panels[:tasks]):
        rows = np.ma.filled(axis.images[0].get_array(), np.nan)
        sums = np.nansum(rows, axis=1)
        assert sums[: task + 1] == pytest.approx(100)
        assert (sums[task + 1 :] == 0).all(), "tasks to come are empty"


def test_columns_are_kinds_of_keys_and_rows_what_happens_to_them(analyses: Analyses) -> None:
    dataset = analyses.plan.datasets[0].name
    kinds = analyses.present(list(KEY_KINDS), analyses.table("selection", dataset))
    figure = kinds_of_keys(analyses, dataset)
    assert [axis.get_title() for axis in figure.axes[: len(kinds)]] == [KEY_KINDS[k] for k in kinds]
    drift = figure.axes[2 * len(kinds)]
    assert all(line.get_ydata()[0] == pytest.approx(0, abs=1e-6) for line in drift.lines[:-1]), (
        "no key has drifted at the end of its own task"
    )


def test_long_names_are_cut_and_ticks_are_ten_at_most() -> None:
    assert shortened("a name") == "a name"
    assert shortened("x" * 30) == "x" * 17 + "…"
    assert list(_ticks(5)) == [1, 2, 3, 4, 5]
    assert len(_ticks(95)) <= 10
