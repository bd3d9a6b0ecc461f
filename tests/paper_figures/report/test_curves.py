"""A run's curves: points at their places, high values up, nothing from one value."""

import re
from pathlib import Path

import pytest

from paper_figures.report.curves import EDGE, HEIGHT, WIDTH, curves_svg
from starprompt.record.record import EpochLosses, RunRecord
from tests.helpers.fake_results import fake_plan, fake_record


def _record(accuracy: list[list[float | None]], *losses: float | None) -> RunRecord:
    """With these losses by epoch; None for an epoch that has another term alone."""
    found = fake_record(fake_plan(Path()), "set-0", "method-0", 1993, accuracy)
    terms = [{"other": 9.0} if loss is None else {"loss": loss} for loss in losses]
    epochs = [EpochLosses(task=0, epoch=e, losses=values) for e, values in enumerate(terms)]
    return found.model_copy(update={"losses": epochs})


def _points(svg: str) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in (point.split(",") for point in line.split())]
        for line in re.findall(r'points="([^"]*)"', svg)
    ]


THREE: list[list[float | None]] = [[100.0, None, None], [40.0, 60.0, None], [0.0, 0.0, 0.0]]


def test_accuracy_is_the_mean_over_seen_tasks_from_nought_to_a_hundred() -> None:
    (points,) = _points(curves_svg(_record(THREE)))
    top, bottom = 22, HEIGHT - 22
    assert [y for _, y in points] == pytest.approx([top, (top + bottom) / 2, bottom])
    middle = (EDGE + WIDTH - 8) / 2
    assert [x for x, _ in points] == pytest.approx([EDGE, middle, WIDTH - 8])


def test_losses_reach_from_nought_to_the_largest() -> None:
    _, points = _points(curves_svg(_record(THREE, 4.0, 1.0, None, 2.0)))
    height = HEIGHT - 44
    assert [y for _, y in points] == pytest.approx([22, 22 + 0.75 * height, 22 + 0.5 * height])


def test_a_negative_loss_lowers_the_axis() -> None:
    svg = curves_svg(_record(THREE, 1.0, -1.0))
    assert _points(svg)[1][1][1] == HEIGHT - 22
    assert ">-1</text>" in svg


def test_one_value_makes_no_curve() -> None:
    assert curves_svg(_record([[50.0]], 1.0)) == ""
    assert len(_points(curves_svg(_record([[50.0]], 1.0, 2.0)))) == 1
