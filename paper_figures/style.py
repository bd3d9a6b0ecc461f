"""How every figure looks: sizes, fonts, colours, files. Change it here, it changes everywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from paper_figures.plan import Plan
from starprompt.files import atomic_path

#: Inches. A figure spans a page's text width; heights grow with what is in it.
WIDTH = 7.0
HEATMAP = "Blues"
SUFFIXES = ("pdf", "png")
#: From how many rows a heat map no longer writes numbers into its cells, and no longer names rows.
MAX_ANNOTATED = 12
MAX_NAMED = 40

_RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # editable text, as publishers ask
    "text.parse_math": False,  # a dollar sign in a title is a dollar sign
}
#: Equal results give equal bytes: nothing in a file says when or by what it was made.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Everything drawn and saved inside looks the paper's way; nothing outside changes."""
    with mpl.rc_context(_RC):
        yield


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.pdf`` and ``name.png`` under ``folder``, each whole or not at all."""
    paths = [folder / f"{name}.{suffix}" for suffix in SUFFIXES]
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for every form
    for path, suffix in zip(paths, SUFFIXES, strict=True):
        with atomic_path(path) as part:
            figure.savefig(part, format=suffix, metadata=_METADATA[suffix])
    return paths


#: Line styles tell apart what repeats a colour, and help where colours can't be seen.
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def method_looks(plan: Plan) -> dict[str, dict[str, Any]]:
    """By method name: colour, line style and marker, the same in every figure of a plan.

    The palette is seaborn's colour-blind safe one; where more methods than its ten colours are
    drawn, line styles go on. Bounds are grey.
    """
    colours = sns.color_palette("colorblind", 10)
    greys = ("0.25", "0.55", "0.4", "0.7")
    looks: dict[str, dict[str, Any]] = {}
    rivals = bounds = 0
    for method in plan.methods:
        if method.bound:
            look = {"color": greys[bounds % 4], "linestyle": _DASHES[1 + bounds % 4]}
            bounds += 1
        else:
            # The palette's own grey is left to the bounds.
            colour = [c for i, c in enumerate(colours) if i != 7][rivals % 9]
            look = {"color": colour, "linestyle": _DASHES[rivals // 9 % 5]}
            rivals += 1
        looks[method.name] = {**look, "marker": _MARKERS[(rivals + bounds - 1) % 10]}
    return looks


def wrapped(title: str, width: int = 26) -> str:
    """A heading that fits a panel or a legend."""
    return fill(title, width, break_long_words=False)


def panels(count: int, columns: int, panel_height: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels in rows of at most ``columns``; empty places are hidden."""
    columns = min(columns, count)
    rows = -(-count // columns)
    width = WIDTH if columns > 1 else min(WIDTH, panel_height * 1.4)
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06)
    figure = Figure(figsize=(width, rows * panel_height + 0.5), layout=layout)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def sentence(text: str) -> Figure:
    """A figure that only says why there is nothing to draw."""
    figure, (axis,) = panels(1, 1, 1.5)
    axis.set_axis_off()
    axis.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def percent_scale(size: int) -> Normalize:
    """Colours from 0 to 100%: linear while cells bear numbers, else faint shares stand out."""
    return Normalize(0, 100) if size <= MAX_ANNOTATED else PowerNorm(0.5, 0, 100)


def heat_map(axis: Axes, values: np.ndarray, scale: Normalize, **labels: Any) -> None:
    """Percent as a square heat map; NaN stays empty.

    Cells bear their number up to MAX_ANNOTATED rows.
    """
    few = max(values.shape) <= MAX_ANNOTATED
    size = 6.5 if max(values.shape) <= 6 else 4.5
    sns.heatmap(
        values,
        norm=scale,
        cmap=HEATMAP,
        annot=few,
        fmt=".0f",
        annot_kws={"fontsize": size},
        cbar=False,
        square=True,
        linewidths=0.4 if few else 0,
        linecolor="white",
        rasterized=not few,
        ax=axis,
        **labels,
    )
    axis.tick_params(length=0)
    axis.set_yticklabels(axis.get_yticklabels(), rotation=0)


def colour_bar(figure: Figure, axes: list[Axes], scale: Normalize, label: str) -> None:
    """One scale for all heat maps of a figure, as long as a panel is high."""
    shrink = min(0.9, 2.2 / figure.get_figheight())
    colours = ScalarMappable(scale, HEATMAP)
    bar = figure.colorbar(
        colours, ax=axes, shrink=shrink, aspect=18, pad=0.02, anchor=(0, 0.95), label=label
    )
    bar.outline.set_visible(False)
