"""Are the keys stable? Confusion after every task, and three kinds of keys side by side."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from paper_figures.analyses import KEY_KINDS, Analyses
from paper_figures.style import HEATMAP, MAX_NAMED, WIDTH, colour_bar, heat_map, percent_scale


def confusion_by_task(analyses: Analyses, dataset: str) -> Figure:
    """Task of the chosen prompt (column) by true task (row), after every task; a row of panels a
    kind of keys, mean over seeds."""
    frame = analyses.table("confusion", dataset)
    methods = analyses.present(list(KEY_KINDS), frame)
    n_tasks = int(frame["true_task"].max()) + 1
    panel = WIDTH * 0.9 / n_tasks
    size = (WIDTH, len(methods) * (panel + 0.42) + 0.35)
    figure, axes = _grid(len(methods), n_tasks, size)
    scale = percent_scale(n_tasks)
    for row, method in enumerate(methods):
        own = frame[frame["method"] == method]
        for after_task in range(n_tasks):
            axis = axes[row, after_task]
            here = own[own["after_task"] == after_task]
            table = here.pivot_table(index="true_task", columns="chosen_task", values="share")
            shares = 100 * table.reindex(index=range(n_tasks), columns=range(n_tasks)).to_numpy()
            ticks = range(1, n_tasks + 1) if n_tasks <= 6 else False
            heat_map(axis, shares, scale, xticklabels=ticks, yticklabels=ticks)
            axis.set_title(f"after task {after_task + 1}" if row == 0 else "")
            axis.tick_params(labelsize=6)
            if n_tasks <= 6:
                for text in axis.texts:
                    text.set_fontsize(5)
        axes[row, 0].set_ylabel(f"{KEY_KINDS[method]}\ntrue task")
        axes[row, n_tasks // 2].set_xlabel("task of the chosen prompt")
    colour_bar(figure, list(axes.flat), scale, "Share of the row [%]")
    return figure


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
        ["Right task [%]", "Choices changed\nsince own task [%]", "Drift, 1 − cosine", "Class"]
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
        yticklabels=[_short(names[c]) for c in table.index] if few and named else False,
        ax=axis,
    )
    axis.tick_params(length=0, labelsize=6)
    axis.set(xlabel="Right class after the last task [%], by seed", ylabel="")
    axis.tick_params(axis="x", rotation=0)


def _short(name: str, limit: int = 18) -> str:
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"


def _ticks(n_tasks: int) -> range:
    return range(1, n_tasks + 1, max(1, -(-n_tasks // 10)))
