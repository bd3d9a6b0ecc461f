"""The figures' style: looks that tell methods apart, sizes, and files of equal bytes."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from paper_figures import style
from paper_figures.plan import MethodRow
from paper_figures.style import COLUMN, STYLE_FILE, WIDTH, method_looks, spread_out
from tests.helpers.fake_results import fake_plan


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
    assert figure.get_figwidth() == (style.WIDTH if count > 1 else style.COLUMN)


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


def test_thirty_methods_differ_where_colours_cannot_be_seen() -> None:
    rows = [MethodRow(f"m{i}", f"M{i}", "", bound=i % 10 == 0) for i in range(30)]
    looks = method_looks(replace(fake_plan(Path()), methods=tuple(rows)))
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks.values()}) == 30
    assert len({(look["fillstyle"], look["marker"]) for look in looks.values()}) == 30
    greys = {to_hex(looks[row.name]["color"]) for row in rows if row.bound}
    assert greys.isdisjoint(to_hex(looks[row.name]["color"]) for row in rows if not row.bound)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_names_of_lines_stay_apart_in_order_and_inside(wanted: list[float]) -> None:
    wanted.sort()
    places = spread_out(wanted, 4.0, 0.0, 100.0)
    assert all(b - a >= 4.0 - 1e-9 for a, b in pairwise(places))
    assert min(places) >= -1e-9 and max(places) <= 100 + 1e-9


def test_names_that_are_apart_stay_where_they_are() -> None:
    assert spread_out([10.0, 20.0, 30.0], 4.0, 0.0, 100.0) == pytest.approx([10, 20, 30])
    assert spread_out([50.0, 50.0], 4.0, 0.0, 100.0) == pytest.approx([48, 52])


def test_the_style_file_has_the_sizes_and_the_widths_are_a_columns_and_a_pages() -> None:
    assert "pdf.fonttype: 42" in STYLE_FILE.read_text(encoding="utf-8")
    assert (COLUMN, WIDTH) == (3.3, 7.0)
