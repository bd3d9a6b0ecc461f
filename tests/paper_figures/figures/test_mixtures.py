"""Figures of mixtures: measures over those of one Gaussian, and shares of classes."""

import pandas as pd
import pytest

from paper_figures.analyses import Analyses
from paper_figures.figures.mixtures import _over_one, number_of_gaussians, replay_quality


def test_measures_are_less_those_of_the_classs_own_single_gaussian() -> None:
    frame = pd.DataFrame(
        {
            "seed": [1, 1, 1, 1],
            "label": [0, 0, 1, 1],
            "components": [1, 5, 1, 5],
            "samples": [10, 10, 20, 20],
            "bic": [100.0, 60.0, 100.0, 200.0],
            "log_likelihood": [-5.0, -3.0, -8.0, -7.0],
            "held_out": [-5.0, -6.0, -8.0, -8.5],
        }
    )
    found = _over_one(frame)
    assert found["bic"].tolist() == [0, -4, 0, 5], "a sample"
    assert found["log_likelihood"].tolist() == [0, 2, 0, 1]
    assert found["held_out"].tolist() == [0, -1, 0, -0.5]


def test_bars_are_shares_of_classes_and_lines_are_means(analyses: Analyses) -> None:
    dataset = analyses.plan.datasets[0].name
    figure = number_of_gaussians(analyses, dataset)
    frame = analyses.table("mixtures", dataset)
    _, likelihood, bic, best = figure.axes
    spaces = frame["space"].nunique()
    assert sum(bar.get_height() for bar in best.patches) == pytest.approx(100 * spaces)
    for line in (*likelihood.lines, *bic.lines):
        assert line.get_ydata()[0] == pytest.approx(0), "one Gaussian over itself"
    assert [axis.get_xscale() for axis in figure.axes] == ["log", "log", "log", "linear"]


def test_generated_features_stand_beside_real_ones(analyses: Analyses) -> None:
    figure = replay_quality(analyses, analyses.plan.datasets[0].name)
    assert len(figure.axes) % 3 == 0
    for axis in figure.axes:
        drawn, real = (points.get_offsets() for points in axis.collections)
        assert len(drawn) == len(real) > 0
        assert (drawn[:, 0] == real[:, 0]).all()
    assert figure.axes[2].get_ylim()[1] == pytest.approx(1.05), "a coverage is a share"
