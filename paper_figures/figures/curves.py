"""Accuracy over the stream: the average after each task, and each task's own over time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.figures.heat_maps import Map, heat_maps
from paper_figures.plan import MethodRow
from paper_figures.style import MAX_BANDS, MAX_NARROW, WIDTH, label_lines, method_looks, panels


def accuracy_curves(results: Results, dataset: str) -> Figure:
    """Average accuracy on the tasks seen so far, after each task.

    A line is the mean over seeds and its band the sample deviation; more than MAX_BANDS lines have
    none. A method that learned all tasks at once has no curve: a level line stands for it.
    """
    plan = results.plan
    looks = method_looks(plan)
    frame = results.accuracy[results.accuracy["dataset"] == dataset]
    after = frame.groupby(["method", "seed", "after_task"], as_index=False)["accuracy"].mean()
    over_seeds = after.groupby(["method", "after_task"])["accuracy"].agg(["mean", "std"])
    n_tasks = int(frame["task"].max()) + 1
    methods = methods_with_runs(results, dataset)
    figure, (axis,) = panels(1, 1, max(2.4, 0.135 * len(methods)))
    if len(methods) > MAX_NARROW:
        figure.set_figwidth(WIDTH)
    ends = []
    for method in methods:
        look = looks[method.name]
        curve = over_seeds.loc[method.name]
        if len(curve) == 1 and n_tasks > 1:
            curve = pd.concat([curve, curve]).set_axis([0, n_tasks - 1])
            look = {**look, "marker": ""}
        x, mean = curve.index.to_numpy() + 1, curve["mean"].to_numpy()
        axis.plot(x, mean, **look)
        if len(methods) <= MAX_BANDS and curve["std"].notna().all():
            low, high = mean - curve["std"], mean + curve["std"]
            axis.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        ends.append((float(mean[-1]), method.heading, look))
    axis.set(
        xlabel="Tasks learned",
        ylabel="Average accuracy on seen tasks [%]",
        xlim=(1 - 0.02 * n_tasks, n_tasks + 0.02 * n_tasks),
        ylim=(max(0, after["accuracy"].min() // 10 * 10 - 10), 101),
        xticks=_ticks(n_tasks),
    )
    axis.grid(axis="y", linewidth=0.4, color="0.9")
    label_lines(axis, ends)
    return figure


def methods_with_runs(results: Results, dataset: str) -> list[MethodRow]:
    """The methods that have runs on a data set; the title of one with fewer seeds than the plan
    says how many."""
    seeds = len(results.plan.seeds)
    counts = {m.name: len(results.of(dataset, m.name)) for m in results.plan.methods}
    return [
        m if counts[m.name] == seeds else replace(m, title=f"{m.title} (n = {counts[m.name]})")
        for m in results.plan.methods
        if counts[m.name]
    ]


def task_accuracy(results: Results, dataset: str) -> Figure:
    """Accuracy on each task (column) after learning each task (row), mean over seeds.

    Methods that learned all tasks at once have a single row.
    """
    frame = results.accuracy[results.accuracy["dataset"] == dataset]
    n_tasks = int(frame["task"].max()) + 1
    methods = methods_with_runs(results, dataset)
    maps = []
    for method in methods:
        matrix = _matrix(frame[frame["method"] == method.name], n_tasks)
        maps.append(Map(method.heading, matrix, ["all"] if len(matrix) < n_tasks else None))
    names = [str(task) for task in range(1, n_tasks + 1)]
    return heat_maps(maps, names, "Task", "After task", "Accuracy [%]")


def _matrix(frame: pd.DataFrame, n_tasks: int) -> np.ndarray:
    """(trained tasks, n_tasks) mean over seeds; NaN where a task was not yet seen."""
    table = frame.pivot_table(index="after_task", columns="task", values="accuracy")
    return table.reindex(columns=range(n_tasks)).to_numpy()


def _ticks(n_tasks: int) -> Sequence[int]:
    step = max(1, -(-n_tasks // 10))
    return range(1, n_tasks + 1, step)
