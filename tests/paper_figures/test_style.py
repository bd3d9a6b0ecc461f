"""The figures' style: looks that tell methods apart, sizes, and files of equal bytes."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from paper_figures import style
from paper_figures.plan import MethodRow, Plan


def test_methods_look_different_and_bounds_are_grey() -> None:
    rows = [MethodRow(f"m{i}", "M", "d") for i in range(29)]
    rows += [MethodRow(f"b{i}", "B", "d", bound=True) for i in range(3)]
    plan = Plan("p", "P", Path(), tuple(rows), (), (1,))
    looks = style.method_looks(plan)
    rivals = [looks[m.name] for m in plan.methods if not m.bound]
    assert len({(str(look["color"]), str(look["linestyle"])) for look in rivals}) == 29
    assert rivals[0]["color"] == rivals[9]["color"] != rivals[1]["color"]
    assert rivals[0]["linestyle"] == "solid" != rivals[9]["linestyle"]
    greys = [looks[f"b{i}"]["color"] for i in range(3)]
    assert len(set(greys)) == 3
    assert all(isinstance(grey, str) and 0 < float(grey) < 1 for grey in greys)
    assert not any(isinstance(look["color"], str) for look in rivals)


def test_the_style_ends_with_its_block() -> None:
    before = mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]
    with style.paper_style():
        assert mpl.rcParams["font.size"] == 8
        assert mpl.rcParams["text.parse_math"] is False
    assert (mpl.rcParams["font.size"], mpl.rcParams["text.parse_math"]) == before


@pytest.mark.parametrize(("count", "columns", "rows"), [(5, 3, 2), (3, 3, 1), (1, 4, 1), (4, 2, 2)])
def test_panels_stand_in_rows_and_empty_places_are_hidden(
    count: int, columns: int, rows: int
) -> None:
    figure, axes = style.panels(count, columns, 2.0)
    assert len(axes) == count
    assert figure.get_figheight() == pytest.approx(2.0 * rows + 0.5)
    assert sum(axis.get_visible() for axis in figure.axes) == count
    if count > 1:
        assert figure.get_figwidth() == style.WIDTH


def test_equal_figures_have_equal_bytes_and_no_date(tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        with style.paper_style():
            paths.append(style.save(style.sentence("Nothing to draw."), tmp_path / name, "x"))
    assert [path.name for path in paths[0]] == ["x.pdf", "x.png"]
    for one, other in zip(*paths, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"CreationDate" not in paths[0][0].read_bytes()


def test_colours_are_linear_where_cells_bear_numbers_and_spread_the_faint_elsewhere() -> None:
    linear, faint = style.percent_scale(style.MAX_ANNOTATED), style.percent_scale(13)
    assert float(linear(25)) == 0.25
    assert float(faint(25)) > 0.3
    for scale in (linear, faint):
        assert [float(scale(v)) for v in (0, 100)] == [0, 1]
        assert (np.diff([float(scale(v)) for v in range(0, 101, 10)]) > 0).all()


def test_headings_are_wrapped_between_words_alone() -> None:
    assert style.wrapped("one two three", 7) == "one two\nthree"
    assert style.wrapped("x" * 40, 7) == "x" * 40
