"""Curves are means over seeds of the tasks seen."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from paper_figures.collect import Results, collect
from paper_figures.figures import curves
from paper_figures.figures.tradeoffs import accuracy_against_cost, forgetting_by_task
from paper_figures.style import paper_style
from tests.helpers import fake_results


def test_curves_are_means_over_seeds_of_the_tasks_seen(results: Results) -> None:
    with paper_style():
        axis = curves.accuracy_curves(results, "set-0").axes[0]
    for line, method in zip(axis.lines, results.plan.methods[:-1], strict=False):
        per_seed = [
            [np.mean([v for v in row if v is not None]) for row in record.accuracy]
            for seed in results.plan.seeds
            for record in [results.records["set-0", method.name, seed]]
        ]
        assert line.get_ydata() == pytest.approx(np.mean(per_seed, axis=0))
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5]


def test_names_of_lines_stay_inside_the_figure_and_apart(results: Results) -> None:
    with paper_style():
        figure = curves.accuracy_curves(results, "set-0")
        figure.draw_without_rendering()
        names = figure.axes[0].texts
        boxes = sorted((text.get_window_extent() for text in names), key=lambda box: box.y0)
    assert len(names) == 13
    assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width


def test_a_method_with_fewer_seeds_says_how_many(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=3, seeds=3)
    fake_results.write_fake_runs(plan)
    (plan.run_folder("set-0", "method-0", plan.seeds[0]) / "record.json").unlink()
    for seed in plan.seeds:
        (plan.run_folder("set-0", "joint", seed) / "record.json").unlink()
    found = collect(plan)
    wanted = ["STAR-Prompt (n = 2)", "STAR-Prompt (first stage)"]
    with paper_style():
        shown = curves.accuracy_curves(found, "set-0").axes[0].texts
        assert sorted(text.get_text() for text in shown) == wanted[::-1]
        points = accuracy_against_cost(found, "set-0").legends[0].get_texts()
        assert [text.get_text() for text in points] == wanted
        lost = forgetting_by_task(found, "set-0").axes[0].get_yticklabels()
        assert [text.get_text() for text in lost] == wanted
