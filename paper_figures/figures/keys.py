"""Are the keys stable? Confusion after every task, and three kinds of keys side by side."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from paper_figures.analyses import KEY_KINDS, Analyses
from paper_figures.style import HEATMAP, MAX_NAMED, WIDTH, percent_scale, shortened

#: panels in a row, and up to how many tasks a cell bears its number
_ACROSS, _ANNOTATED = 5, 6


def confusion_by_task(analyses: Analyses, dataset: str) -> Figure:
    """Task of the chosen prompt (column) by true task (row), after every task; a block of panels a
    kind of keys, mean over seeds."""
    frame = analyses.table("confusion", dataset)
    methods = analyses.present(list(KEY_KINDS), frame)
    n_tasks = int(frame["true_task"].max()) + 1
    across = min(_ACROSS, n_tasks)
    down = -(-n_tasks // across)
    left, right, gap, head = 0.45, 0.85, 0.12, 0.42  # inches
    side = (WIDTH - left - right - (across - 1) * gap) / across
    block = head + down * (side + 0.22)
    height = len(methods) * block + 0.3
    figure = Figure(figsize=(WIDTH, height))
    scale = percent_scale(n_tasks if n_tasks > _ANNOTATED else 1)
    for row, method in enumerate(methods):
        top = height - row * block
        figure.text(left / WIDTH, (top - 0.12) / height, KEY_KINDS[method], va="top", fontsize=9)
        own = frame[frame["method"] == method]
        for task in range(n_tasks):
            x = left + task % across * (side + gap)
            y = top - head - side - task // across * (side + 0.22)
            axis = figure.add_axes((x / WIDTH, y / height, side / WIDTH, side / height))
            _panel(axis, _shares(own[own["after_task"] == task], n_tasks), scale)
            axis.set_title(f"after task {task + 1}", fontsize=7, pad=2)
            if task % across:
                axis.set_yticklabels([])
            else:
                axis.set_ylabel("True task", fontsize=7)
            if task < n_tasks - across or row < len(methods) - 1:
                axis.set_xticklabels([])
            else:
                axis.set_xlabel("Chosen task", fontsize=7)
    bar_axes = figure.add_axes(((WIDTH - 0.7) / WIDTH, 1 - 2.2 / height, 0.1 / WIDTH, 1.7 / height))
    bar = figure.colorbar(
        ScalarMappable(scale, HEATMAP), cax=bar_axes, label="Share of the row [%]"
    )
    bar.outline.set_visible(False)
    return figure


def _shares(here: pd.DataFrame, n_tasks: int) -> np.ndarray:
    """(T, T) percent, mean over seeds; NaN beyond the tasks seen."""
    table = here.pivot_table(index="true_task", columns="chosen_task", values="share")
    return 100 * table.reindex(index=range(n_tasks), columns=range(n_tasks)).to_numpy()


def _panel(axis: Axes, shares: np.ndarray, scale: Normalize) -> None:
    n_tasks = len(shares)
    axis.imshow(shares, norm=scale, cmap=HEATMAP, interpolation="nearest")
    names = [str(task + 1) for task in range(n_tasks)]
    axis.set_xticks(range(n_tasks), names)
    axis.set_yticks(range(n_tasks), names)
    axis.tick_params(length=0, labelsize=6 if n_tasks <= _ANNOTATED else 4.5, pad=1)
    axis.spines[:].set(visible=True, color="0.8", linewidth=0.5)
    if n_tasks <= _ANNOTATED:
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                axis.text(
                    column,
                    row,
                    f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color="white" if share > 55 else "0.15",
                )


def kinds_of_keys(analyses: Analyses, dataset: str) -> Figure:
    """A column a kind of keys; from the top: right choices of each task along the stream, choices
    of old images that changed, the keys' drift, right choices of each class."""
    selection = analyses.table("selection", dataset)
    classes = analyses.table("selection-by-class", dataset)
    drift = analyses.table("key-drift", dataset)
    methods = analyses.present(list(KEY_KINDS), selection)
    n_tasks = int(selection["task"].max()) + 1
    figure, axes = _grid(4, len(methods), (WIDTH, 7.6), height_ratios=[1, 1, 1, 1.4])
    highest = max(0.05, 1.05 * drift["drift"].max()) if len(drift) else 1.0
    for column, method in enumerate(methods):
        own = selection[selection["method"] == method]
        _task_lines(axes[0, column], own, "right_task", n_tasks, first=column == 0)
        _task_lines(axes[1, column], own, "changed", n_tasks, first=False)
        _drift_lines(axes[2, column], drift[drift["method"] == method], n_tasks)
        _class_map(axes[3, column], classes[classes["method"] == method], named=column == 0)
        axes[0, column].set_title(KEY_KINDS[method])
        axes[2, column].set_ylim(-0.03 * highest, highest)
    for row, label in enumerate(
        ["Right task [%]", "Choices changed\nsince own task [%]", "Drift, 1 − cosine", ""]
    ):
        axes[row, 0].set_ylabel(label)
        for axis in axes[row, 1:]:
            axis.set_yticklabels([])
    return figure


def _grid(
    rows: int, columns: int, size: tuple[float, float], **ratios: list[float]
) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.05, w_pad=0.03))
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=ratios or None)


def _task_lines(axis: Axes, own: pd.DataFrame, share: str, n_tasks: int, first: bool) -> None:
    """One line a true task, from its own task on; its mean over seeds, and over tasks in black."""
    mean = own.groupby(["task", "after_task"], as_index=False)[share].mean()
    colours = sns.color_palette("viridis", n_tasks)
    for task, line in mean.groupby("task"):
        axis.plot(
            line["after_task"] + 1, 100 * line[share], color=colours[task], marker="o", markersize=2
        )
    over_tasks = mean.groupby("after_task")[share].mean()
    axis.plot(over_tasks.index + 1, 100 * over_tasks, color="black", linestyle="--", label="mean")
    axis.set(ylim=(-4, 104), xticks=_ticks(n_tasks), xlim=(0.8, n_tasks + 0.2))
    axis.set_xticklabels([])
    if first:
        bottom, top = colours[0], colours[-1]
        axis.plot([], [], color=bottom, label="first task")
        axis.plot([], [], color=top, label="last task")
        axis.legend(loc="lower left", frameon=False, fontsize=6)


def _drift_lines(axis: Axes, own: pd.DataFrame, n_tasks: int) -> None:
    """One thin line a class and seed, from its own task on, and their mean."""
    for _, line in own.groupby(["seed", "label"]):
        axis.plot(line["after_task"] + 1, line["drift"], color="0.75", linewidth=0.4)
    if len(own):
        mean = own.groupby("after_task")["drift"].mean()
        axis.plot(mean.index + 1, mean, color="black", linestyle="--")
    axis.set(xticks=_ticks(n_tasks), xlim=(0.8, n_tasks + 0.2), xlabel="Tasks learned")


def _class_map(axis: Axes, own: pd.DataFrame, named: bool) -> None:
    """Right choices of each class (row) in the order of the data set, after the last task, a
    column a seed and their mean."""
    last = own[own["after_task"] == own["after_task"].max()]
    table = 100 * last.pivot_table(index="class", columns="seed", values="right_class")
    table["mean"] = table.mean(axis=1)
    names = last.drop_duplicates("class").set_index("class")["class_name"]
    few = len(table) <= MAX_NAMED
    sns.heatmap(
        table,
        norm=percent_scale(len(table)),
        cmap=HEATMAP,
        annot=len(table) <= 12,
        fmt=".0f",
        annot_kws={"fontsize": 5},
        cbar=False,
        yticklabels=[shortened(names[c]) for c in table.index] if few and named else False,
        ax=axis,
    )
    axis.tick_params(length=0, labelsize=6)
    axis.set(xlabel="Right class at the end [%]", ylabel="")
    axis.tick_params(axis="x", rotation=0)


def _ticks(n_tasks: int) -> range:
    return range(1, n_tasks + 1, max(1, -(-n_tasks // 10)))
