"""Accuracy against cost, and forgetting task by task."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_figures.collect import Results, collect
from paper_figures.figures.tradeoffs import (
    accuracy_against_cost,
    forgetting_by_task,
    forgotten,
    pareto_front,
)
from paper_figures.style import paper_style
from tests.helpers import fake_results

POINT = st.tuples(st.floats(0.1, 10), st.floats(0, 100))


@given(st.lists(POINT, min_size=1, max_size=12))
def test_nothing_beats_the_front(points: list[tuple[float, float]]) -> None:
    front = pareto_front(points)
    assert set(front) <= set(points)
    for cost, accuracy in points:
        assert any(c <= cost and a >= accuracy for c, a in front)
    for at, (cost, accuracy) in enumerate(front):
        assert not any(c <= cost and a >= accuracy for c, a in front[:at] + front[at + 1 :])


def test_what_tasks_lose_averages_to_the_metric() -> None:
    matrix = [[90.0, None, None], [80.0, 70.0, None], [85.0, 40.0, 60.0]]
    rows = [
        {"method": "m", "seed": 0, "after_task": t, "task": i, "accuracy": value}
        for t, row in enumerate(matrix)
        for i, value in enumerate(row)
        if value is not None
    ]
    lost = forgotten(pd.DataFrame(rows))
    assert list(lost["lost"]) == [90 - 85, 70 - 40]
    assert lost["lost"].mean() == pytest.approx(17.5)


def test_the_figures_draw_every_method_that_has_what_they_show(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=4, seeds=2)
    fake_results.write_fake_runs(plan)
    found = collect(plan)
    with paper_style():
        costs = accuracy_against_cost(found, "set-0")
        assert len(costs.legends[0].get_texts()) == 4
        assert len(costs.axes[0].lines) == 0  # no operations were counted
        assert len(costs.axes[1].lines) == 5  # four points and the front
        lost = forgetting_by_task(found, "set-0")
    (image,) = lost.axes[0].images
    assert image.get_array().shape == (3, 4)  # all but the joint method, all but the last task
    expected = forgotten(found.accuracy)
    own = expected[expected["method"] == "method-1"].groupby("task")["lost"].mean()
    assert np.asarray(image.get_array()[1]) == pytest.approx(np.asarray(own))


def test_a_long_legend_stays_inside_the_figure(results: Results) -> None:
    with paper_style():
        figure = accuracy_against_cost(results, "set-0")
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 13
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width
