"""Heat maps of percent side by side at a page's width, laid out in inches.

All panels have one scale and one size; names stand at the left and at the bottom alone. Cells bear
their number where it is legible in print.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from paper_figures.style import COLUMN, HEATMAP, WIDTH, percent_scale, wrapped

#: inches: a panel's largest side, the smallest cell with a number, the space between panels, of the
#: colour bar, of a line of a title
LARGEST, CELL, GAP, BAR, LINE = 2.1, 0.17, 0.14, 0.62, 0.115
#: most panels in a row
ACROSS = 5
#: points: of titles and axis labels, of names; a letter is about 0.55 of its size wide
TITLE, NAME, LETTER = 7.0, 5.5, 0.55


@dataclass(frozen=True)
class Map:
    """One panel: (rows, columns) percent with NaN for nothing, and the names of the rows if they
    are not those of all panels."""

    title: str
    values: np.ndarray
    rows: Sequence[str] | None = None


def heat_maps(
    maps: Sequence[Map],
    names: Sequence[str] | None,
    xlabel: str,
    ylabel: str,
    bar_label: str,
) -> Figure:
    """A figure of all maps in rows. names of rows and columns alike; None leaves them out.

    It spans a column where one map is all, else a page.
    """
    across = min(len(maps), 3 if len(maps) <= 3 else ACROSS)
    size = max(max(m.values.shape) for m in maps)
    shown = [] if names is None else list(names)
    longest = max((len(name) for name in shown), default=0)
    margin = 0.28 + max(0.12, longest * LETTER * NAME / 72)
    width = COLUMN if across == 1 else WIDTH
    side = min(LARGEST, (width - margin - BAR - (across - 1) * GAP) / across)
    numbers = side / size >= CELL
    titles = [wrapped(m.title, int(side * 72 / (LETTER * TITLE))) for m in maps]
    down = -(-len(maps) // across)
    lines = [
        max(t.count("\n") + 1 for t in titles[row * across : (row + 1) * across])
        for row in range(down)
    ]
    heights = [side + LINE * count + GAP for count in lines]
    height = sum(heights) + margin
    figure = Figure(figsize=(width, height))
    scale = percent_scale(1 if numbers else size)
    step = _step(len(shown), side)
    for at, (one, title) in enumerate(zip(maps, titles, strict=True)):
        row, column = divmod(at, across)
        own = side * len(one.values) / size  # a single row stays as high as a row
        top = height - sum(heights[:row]) - LINE * lines[row] - 0.05
        x = margin + column * (side + GAP)
        axis = figure.add_axes((x / width, (top - own) / height, side / width, own / height))
        axis.imshow(one.values, norm=scale, cmap=HEATMAP, interpolation="nearest", aspect="auto")
        axis.set_title(title, fontsize=TITLE, pad=2)
        if numbers:
            _write(axis, one.values, min(6.5, 30 * side / size))
        rows = one.rows if one.rows is not None else shown[: len(one.values)]
        _name(axis.yaxis, rows, 1 if one.rows is not None else step, not column or one.rows)
        _name(axis.xaxis, shown, step, at + across >= len(maps))
        if longest > 3:
            axis.tick_params(axis="x", rotation=90)
        if not column:
            axis.set_ylabel(ylabel, fontsize=TITLE)
    # Once, under the last row: beside each other, labels of narrow panels would overlap.
    last = len(maps) - (down - 1) * across
    middle = margin + (last * side + (last - 1) * GAP) / 2
    figure.text(middle / width, 0.13 / height, xlabel, ha="center", va="bottom", fontsize=TITLE)
    _bar(figure, margin + across * side + (across - 1) * GAP, height, scale, bar_label)
    return figure


def _step(count: int, side: float) -> int:
    """Every which name is legible."""
    return max(1, -(-count // max(1, int(side * 72 / (1.25 * NAME)))))


def _name(axis: object, names: Sequence[str], step: int, shown: object) -> None:
    places = range(0, len(names), step)
    axis.set_ticks(places, [names[i] for i in places] if shown else [])  # type: ignore[attr-defined]
    axis.set_tick_params(length=0, labelsize=NAME, pad=1)  # type: ignore[attr-defined]


def _write(axis: Axes, values: np.ndarray, size: float) -> None:
    """Each cell's number, white on dark."""
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            text = axis.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=size,
                color="white" if value > 60 else "0.15",
            )  # fmt: skip
            text.set_in_layout(False)


def _bar(figure: Figure, right: float, height: float, scale: object, label: str) -> None:
    long = min(1.7, height - 0.6)
    width = figure.get_figwidth()
    at = ((right + 0.08) / width, 1 - (long + 0.25) / height, 0.09 / width, long / height)
    colours = ScalarMappable(scale, HEATMAP)  # type: ignore[arg-type]
    bar = figure.colorbar(colours, cax=figure.add_axes(at), label=label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=NAME)
    bar.ax.yaxis.label.set_fontsize(TITLE)
