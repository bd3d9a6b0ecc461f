"""What accuracy costs, and which tasks are forgotten: one figure a data set each."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.figures.curves import methods_with_runs
from paper_figures.style import COLUMN, HEATMAP, WIDTH, legend, method_looks, panels, sentence
from paper_figures.tables.table import number


def accuracy_against_cost(results: Results, dataset: str) -> Figure:
    """Final accuracy against the operations of a prediction and against the seconds of training.

    A point is a mean over seeds. The step line joins the methods that no other one beats at no
    higher cost; bounds are drawn and left out of it.
    """
    runs = results.runs[results.runs["dataset"] == dataset]
    mean = runs.groupby("method").mean(numeric_only=True)
    looks = method_looks(results.plan)
    methods = methods_with_runs(results, dataset)
    figure, axes = panels(2, 2, 2.2 + 0.045 * len(methods))
    measures = [
        ("test_operations", 1e-9, "GFLOPs to predict an image"),
        ("training_seconds", 1.0, "Training [s]"),
    ]
    for axis, (column, factor, label) in zip(axes, measures, strict=True):
        points, costs = {}, []
        for method in methods:
            cost = factor * float(mean.loc[method.name, column])
            accuracy = float(mean.loc[method.name, "final_average_accuracy"])
            if not (np.isfinite(cost) and cost > 0):
                continue
            costs.append(cost)
            look = looks[method.name]
            axis.plot(cost, accuracy, **{**look, "linestyle": "none"})
            if not method.bound:
                points[method.name] = (cost, accuracy)
        front = pareto_front(list(points.values()))
        if front:
            axis.step(*zip(*front, strict=True), where="post", color="0.6", linewidth=0.8, zorder=0)
        # Within less than two decades a logarithmic axis has too few ticks to read a cost from.
        if costs and max(costs) >= 100 * min(costs):
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.xaxis.set_minor_formatter(lambda value, _: "")
        else:
            axis.set_xlim(0, 1.05 * max(costs, default=1.0) or 1.0)
        if not costs:
            axis.text(0.5, 0.5, "not counted", ha="center", transform=axis.transAxes)
        axis.set(xlabel=label, ylabel="Final average accuracy [%]")
        axis.grid(axis="y", linewidth=0.4, color="0.9")
    legend(figure, methods, looks, linestyle="none")
    return figure


def pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, accuracy) that none beats at no higher cost, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy))
    return front


def forgetting_by_task(results: Results, dataset: str) -> Figure:
    """What each method (row) has lost of each task (column) at the end: its best accuracy before
    minus its last, mean over seeds. A task that got better is white, its number negative."""
    lost = forgotten(results.accuracy[results.accuracy["dataset"] == dataset])
    if lost.empty:
        return sentence("No method here learns task by task.")
    there = set(lost["method"])
    methods = [m for m in methods_with_runs(results, dataset) if m.name in there]
    table = lost.pivot_table(index="method", columns="task", values="lost")
    values = table.reindex([m.name for m in methods]).to_numpy()
    figure, (axis,) = panels(1, 1, 0.5 + 0.15 * len(methods))
    longest = max(len(method.heading) for method in methods)
    # A letter of 7 points is about 0.055 inches wide; the colour bar takes an inch.
    if (COLUMN - 0.055 * longest - 1.0) / values.shape[1] < 0.17:
        figure.set_figwidth(WIDTH)
    largest = max(1.0, float(np.nanmax(values)))
    image = axis.imshow(values, cmap=HEATMAP, vmin=0, vmax=largest, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axis.text(
                column, row, number(value, 0), ha="center", va="center", fontsize=6,
                color="white" if value > 0.6 * largest else "0.15",
            ).set_in_layout(False)  # fmt: skip
    axis.set_yticks(range(len(methods)), [m.heading for m in methods])
    axis.set_xticks(range(values.shape[1]), [str(task + 1) for task in table.columns])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("Task")
    bar = figure.colorbar(image, ax=axis, pad=0.02, label="Forgotten\n[points]")
    bar.outline.set_visible(False)
    return figure


def forgotten(accuracy: pd.DataFrame) -> pd.DataFrame:
    """One row a method, seed and task but the last: ``lost``, as the metric forgetting has it.

    accuracy  rows of one data set with the columns method, seed, after_task, task, accuracy

    The mean of ``lost`` over a run's tasks is its forgetting. Runs of a single evaluation have no
    row.
    """
    last = accuracy.groupby(["method", "seed"])["after_task"].transform("max")
    before = accuracy[accuracy["after_task"] < last]
    best = before.groupby(["method", "seed", "task"])["accuracy"].max()
    final = accuracy[accuracy["after_task"] == last]
    final = final.set_index(["method", "seed", "task"])["accuracy"]
    return (best - final.reindex(best.index)).rename("lost").reset_index()
