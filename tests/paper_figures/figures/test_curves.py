"""Curves are means over seeds of the tasks seen."""

import numpy as np
import pytest

from paper_figures.collect import Results
from paper_figures.figures import curves
from paper_figures.style import paper_style


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


def test_a_long_legend_stays_inside_the_figure(results: Results) -> None:
    with paper_style():
        figure = curves.accuracy_curves(results, "set-0")
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 13
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width
