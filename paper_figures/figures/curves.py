"""Accuracy over the stream: the average after each task, and each task's own over time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.collect import Results
from paper_figures.style import (
    WIDTH,
    colour_bar,
    heat_map,
    method_looks,
    panels,
    percent_scale,
    wrapped,
)


def accuracy_curves(results: Results, dataset: str) -> Figure:
    """Average accuracy on the tasks seen so far, after each task.

    A line is the mean over seeds and its band the sample deviation. A method that learned all
    tasks at once has no curve: a level line stands for it.
    """
    plan = results.plan
    looks = method_looks(plan)
    frame = results.accuracy[results.accuracy["dataset"] == dataset]
    after = frame.groupby(["method", "seed", "after_task"], as_index=False)["accuracy"].mean()
    n_tasks = int(frame["task"].max()) + 1
    figure, (axis,) = panels(1, 1, 3.4)
    figure.set_size_inches(WIDTH, 2.9 + 0.08 * len(plan.methods))
    handles = []
    for method in (m for m in plan.methods if results.of(dataset, m.name)):
        look = looks[method.name]
        curve = after[after["method"] == method.name]
        if curve["after_task"].nunique() > 1 or n_tasks == 1:
            curve = curve.assign(learned=curve["after_task"] + 1)
            sns.lineplot(
                curve,
                x="learned",
                y="accuracy",
                errorbar="sd",
                err_kws={"linewidth": 0},
                ax=axis,
                legend=False,
                **look,
            )
        else:
            mean, spread = curve["accuracy"].mean(), curve["accuracy"].std()
            axis.axhline(mean, color=look["color"], linestyle=look["linestyle"])
            if not np.isnan(spread):
                axis.axhspan(
                    mean - spread, mean + spread, color=look["color"], alpha=0.15, linewidth=0
                )
            look = {**look, "marker": ""}
        handles.append(Line2D([], [], label=method.heading, **look))
    axis.set(
        xlabel="Tasks learned",
        ylabel="Average accuracy on seen tasks [%]",
        ylim=(max(0, after["accuracy"].min() // 10 * 10 - 10), 101),
        xticks=_ticks(n_tasks),
    )
    axis.grid(axis="y", linewidth=0.4, color="0.9")
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def task_accuracy(results: Results, dataset: str) -> Figure:
    """Accuracy on each task (column) after learning each task (row), mean over seeds.

    Methods that learned all tasks at once have a single row.
    """
    frame = results.accuracy[results.accuracy["dataset"] == dataset]
    n_tasks = int(frame["task"].max()) + 1
    methods = [m for m in results.plan.methods if results.of(dataset, m.name)]
    figure, axes = panels(len(methods), 3 if n_tasks <= 6 else 2, 2.1 if n_tasks <= 6 else 3.0)
    scale = percent_scale(n_tasks)
    for axis, method in zip(axes, methods, strict=True):
        matrix = _matrix(frame[frame["method"] == method.name], n_tasks)
        rows = range(1, n_tasks + 1) if len(matrix) > 1 else ["all"]
        columns = range(1, n_tasks + 1)
        heat_map(axis, matrix, scale, xticklabels=columns, yticklabels=rows)
        axis.set(title=wrapped(method.heading), xlabel="Task", ylabel="After task")
    colour_bar(figure, axes, scale, "Accuracy [%]")
    return figure


def _matrix(frame: pd.DataFrame, n_tasks: int) -> np.ndarray:
    """(trained tasks, n_tasks) mean over seeds; NaN where a task was not yet seen."""
    table = frame.pivot_table(index="after_task", columns="task", values="accuracy")
    return table.reindex(columns=range(n_tasks)).to_numpy()


def _ticks(n_tasks: int) -> Sequence[int]:
    step = max(1, -(-n_tasks // 10))
    return range(1, n_tasks + 1, step)
