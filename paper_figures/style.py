"""How every figure looks: sizes, fonts, colours, files. Change it here, it changes everywhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from paper_figures.plan import MethodRow, Plan
from paper_figures.stamps import metadata
from starprompt.files import atomic_path

#: fonts, sizes and lines
STYLE_FILE = Path(__file__).with_name("paper.mplstyle")
#: Inches. A figure spans a page's text width or a column's, nothing between; heights grow with what
#: is in it.
WIDTH, COLUMN = 7.0, 3.3
HEATMAP = "Blues"
SUFFIXES = ("pdf", "png")
#: From how many rows a heat map no longer writes numbers into its cells, and no longer names rows.
MAX_ANNOTATED = 12
#: up to how many lines have a band around them, and stand in a column
MAX_BANDS = 8
MAX_NARROW = 6
MAX_NAMED = 40

#: Equal results of equal code give equal bytes: nothing in a file says when it was made.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Everything drawn and saved inside looks the paper's way; nothing outside changes."""
    with mpl.rc_context(fname=STYLE_FILE):
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png`` under ``folder``, each whole or not at all."""
    paths = [folder / f"{name}.{suffix}" for suffix in SUFFIXES]
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for every form
    for path, suffix in zip(paths, SUFFIXES, strict=True):
        with atomic_path(path) as part:
            try:
                figure.savefig(part, format=suffix, metadata=_METADATA[suffix] | metadata(suffix))
            except AttributeError as error:
                # where the disk is full, matplotlib closes a PDF that it never began
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
    return paths


#: Dashes, markers and their filling tell apart what repeats a colour, and everything where colours
#: can't be seen: five dashes and fillings, nine markers, so that 45 methods in a row have pairs of
#: their own.
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)))
_FILLS = ("full", "none", "left", "top", "right")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def method_looks(plan: Plan) -> dict[str, dict[str, Any]]:
    """By method name: colour, line, marker and its filling, the same in every figure of a plan.

    The palette is seaborn's colour-blind safe one, without its grey, which is left to the bounds.
    """
    colours = [c for i, c in enumerate(sns.color_palette("colorblind", 10)) if i != 7]
    greys = ("0.25", "0.55", "0.4", "0.7")
    looks: dict[str, dict[str, Any]] = {}
    for at, method in enumerate(sorted(plan.methods, key=lambda m: m.bound)):
        bounds = sum(look["color"] in greys for look in looks.values())
        looks[method.name] = {
            "color": greys[bounds % 4] if method.bound else colours[at % 9],
            "linestyle": _DASHES[at % 5],
            "marker": _MARKERS[at % 9],
            "fillstyle": _FILLS[at % 5],
        }
    return looks


def legend(
    figure: Figure, methods: Sequence[MethodRow], looks: dict[str, dict[str, Any]], **changes: Any
) -> None:
    """Name the methods below a figure, in as many columns as its width has place for."""
    handles = [Line2D([], [], label=m.heading, **{**looks[m.name], **changes}) for m in methods]
    longest = max((len(m.heading) for m in methods), default=1)
    # A letter of 7 points is about 0.055 inches wide, the line before it half an inch.
    across = max(1, int(figure.get_figwidth() / (0.5 + 0.055 * longest)))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(across, len(methods)))


def label_lines(axis: Axes, ends: Sequence[tuple[float, str, dict[str, Any]]]) -> None:
    """Name lines at the right of an axis, at the height of their ends, none over another.

    ends  height of each line's last point, its name and its look

    A thin line leads from the end to a name that had to move. The axis' limits must be set before.
    """
    low, high = axis.get_ylim()
    inches = axis.bbox.height / axis.figure.dpi or 1.0
    line = (high - low) * 0.115 / inches
    order = sorted(ends, key=lambda end: end[0])
    places = spread_out([y for y, *_ in order], line, low, high)
    for (y, name, look), place in zip(order, places, strict=True):
        axis.annotate(
            name, (1.0, y), (1.06, place), xycoords=axis.get_yaxis_transform(),
            textcoords=axis.get_yaxis_transform(), va="center", fontsize=6.5, color="0.15",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": look["color"], "linewidth": 0.6, "shrinkA": 0,
                "shrinkB": 0, "relpos": (0, 0.5),
            },
        )  # fmt: skip


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising places at least ``gap`` apart, as near to the rising ``wanted`` ones as that allows.

    Between low and high where they fit. Places that come too near are one block around the mean of
    what they want (pool adjacent violators).
    """
    blocks: list[list[float]] = []  # sum of (wanted - own offset), count
    for at, place in enumerate(wanted):
        blocks.append([place - at * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = [total / count for total, count in blocks for _ in range(int(count))]
    top = max(low, high - (len(wanted) - 1) * gap)
    return [min(max(start, low), top) + at * gap for at, start in enumerate(starts)]


def wrapped(title: str, width: int = 26) -> str:
    """A heading that fits a panel or a legend."""
    return fill(title, width, break_long_words=False)


def panels(count: int, columns: int, panel_height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels in rows of at most ``columns``; empty places are hidden.

    One panel spans a column, several a page.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    width = WIDTH if columns > 1 else COLUMN
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    figure = Figure(figsize=(width, rows * panel_height + 0.5), layout=layout)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def shortened(name: str, limit: int = 18) -> str:
    """A name of at most ``limit`` characters for a label, with an ellipsis where it is cut."""
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"


def sentence(text: str) -> Figure:
    """A figure that only says why there is nothing to draw."""
    figure = Figure(figsize=(COLUMN, 1.0))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.text(0.5, 0.5, wrapped(text, 55), ha="center", va="center")
    return figure


def percent_scale(size: int) -> Normalize:
    """Colours from 0 to 100%: linear while cells bear numbers, else faint shares stand out."""
    return Normalize(0, 100) if size <= MAX_ANNOTATED else PowerNorm(0.5, 0, 100)
