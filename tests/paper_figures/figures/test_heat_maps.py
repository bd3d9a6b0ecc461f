"""Heat maps side by side: numbers where they are legible, names at the outer sides alone."""

import numpy as np
import pytest

from paper_figures.figures.heat_maps import ACROSS, Map, _step, heat_maps
from paper_figures.style import COLUMN, WIDTH


def _maps(count: int, size: int = 3) -> list[Map]:
    values = np.full((size, size), np.nan)
    values[np.tril_indices(size)] = 12.4
    values[0, 0] = 88.6
    return [Map(f"map {i}", values) for i in range(count)]


def _draw(maps: list[Map], size: int = 3):
    names = [str(i) for i in range(size)]
    return heat_maps(maps, names, "chosen", "true", "share")


def test_every_cell_with_a_value_bears_it_and_dark_ones_in_white() -> None:
    axis = _draw(_maps(1)).axes[0]
    shown = {tuple(map(int, text.get_position())): text for text in axis.texts}
    assert len(shown) == 6, "NaN stays empty"
    assert shown[0, 0].get_text() == "89"
    assert shown[0, 0].get_color() == "white"
    assert shown[0, 2].get_text() == "12"
    assert shown[0, 2].get_color() != "white"
    assert (2, 0) not in shown, "x is the column: above the diagonal there is nothing"


def test_numbers_are_left_out_where_cells_are_too_small() -> None:
    axis = _draw(_maps(1, size=40), size=40).axes[0]
    assert len(axis.texts) == 0
    assert 1 < len(axis.get_yticks()) < 40


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (4, 1), (ACROSS + 1, 2)])
def test_panels_have_one_size_and_names_stand_at_the_left_and_at_the_bottom(
    count: int, rows: int
) -> None:
    figure = _draw(_maps(count))
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == count
    boxes = [axis.get_position() for axis in panels]
    assert len({round(box.y0, 6) for box in boxes}) == rows
    assert len({round(box.width, 6) for box in boxes}) == 1
    assert figure.get_figwidth() == (COLUMN if count == 1 else WIDTH)
    wide, high = figure.get_size_inches()
    inches = [(box.width * wide, box.height * high) for box in boxes]
    assert all(wide == pytest.approx(high) for wide, high in inches), "cells are square"
    assert all(box.x1 <= 1 and box.y1 <= 1 and box.x0 >= 0 and box.y0 >= 0 for box in boxes)
    for at, axis in enumerate(panels):
        left, lowest = at % ACROSS == 0, at + min(count, ACROSS) >= count
        assert any(tick.get_text() for tick in axis.get_yticklabels()) == left
        assert any(tick.get_text() for tick in axis.get_xticklabels()) == lowest
        assert (axis.get_ylabel() == "true") == left


def test_a_map_of_one_row_is_as_high_as_a_row_and_has_its_own_name() -> None:
    maps = [*_maps(1), Map("one", np.array([[1.0, 2.0, 3.0]]), rows=["all"])]
    figure = _draw(maps)
    whole, single = (axis.get_position() for axis in figure.axes[:2])
    assert single.height == pytest.approx(whole.height / 3)
    assert [t.get_text() for t in figure.axes[1].get_yticklabels()] == ["all"]


def test_names_are_thinned_until_they_are_legible() -> None:
    assert _step(5, 2.0) == 1
    assert _step(200, 2.0) > _step(100, 2.0) > 1
    assert _step(0, 0.01) == 1
