"""Figures of costs and failure modes: bars are means, red is over the threshold."""

import numpy as np
import pytest

from paper_figures.analyses import INJECTIONS, Analyses
from paper_figures.figures.costs import clip_space, failure_modes, injections


@pytest.fixture
def dataset(analyses: Analyses) -> str:
    return analyses.plan.datasets[0].name


def test_bars_are_means_over_seeds_in_the_units_that_the_title_names(
    analyses: Analyses, dataset: str
) -> None:
    runs = analyses.table("runs", dataset)
    methods = analyses.present(list(INJECTIONS), runs)
    figure = injections(analyses, dataset)
    for place, column, factor in (
        (0, "final_average_accuracy", 1),
        (3, "trained_parameters", 1e-3),
    ):
        heights = [bar.get_height() for bar in figure.axes[place].patches]
        expected = [factor * runs[runs["method"] == m][column].mean() for m in methods]
        assert heights == pytest.approx(expected), column
    assert figure.axes[5].get_yscale() == "log"
    assert [line.get_label() for line in figure.axes[4].lines] == [INJECTIONS[m] for m in methods]


def test_every_task_of_every_data_set_is_a_point(analyses: Analyses) -> None:
    frame = analyses.table("clip-space")
    for axis, measure in zip(clip_space(analyses).axes, ("ratio", "margin"), strict=True):
        points = np.concatenate([c.get_offsets() for c in axis.collections])
        assert len(axis.collections) == len(analyses.plan.datasets)
        assert sorted(points[:, 0]) == pytest.approx(sorted(frame[measure]), nan_ok=True)
        assert sorted(points[:, 1]) == pytest.approx(sorted(frame["zero_shot_accuracy"]))


def test_the_map_shows_the_worst_value_and_the_threshold_in_the_middle(
    analyses: Analyses, dataset: str
) -> None:
    frame = analyses.table("signatures", dataset)
    figure = failure_modes(analyses, dataset)
    mesh = figure.axes[0].collections[0]
    assert mesh.norm(1.0) == 0.5
    names = list(dict.fromkeys(frame["signature"]))
    methods = analyses.present([m.name for m in analyses.plan.methods], frame)
    shown = [text.get_text() for text in figure.axes[0].texts]
    own = frame[(frame["method"] == methods[0]) & (frame["signature"] == "selection_confusion")]
    if "selection_confusion" in names and len(own):
        worst = own["value"].max()
        star = "*" if worst >= own["threshold"].iloc[0] else ""
        assert f"{worst:.2f}{star}" in shown
    assert (
        sum(text.endswith("*") for text in shown)
        == frame[frame["shown"]].groupby(["method", "signature"]).ngroups
    )
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [
        name.replace("_", " ") for name in names
    ]
