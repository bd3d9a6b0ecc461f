"""How prompt methods use their prompts: how many serve a task, and whose they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.collect import Results
from paper_figures.figures.selection import nothing_selected, over_seeds
from paper_figures.style import WIDTH, heat_map, method_looks, percent_scale, wrapped
from starprompt.analysis.prompt_choices import (
    effective_prompts,
    read_choices,
    row_percent,
    selected_tasks,
    with_tasks,
)
from starprompt.record.record import StreamRecord

#: heat maps in a row of the figure, at most
COLUMNS = 5


def prompt_use(results: Results, dataset: str) -> Figure:
    """Prompts used by each task, choices of the own task's prompts, and the confusion of tasks."""
    stream = results.stream(dataset)
    if stream is None:
        return nothing_selected()
    n_tasks = max(stream.task_of_class) + 1

    def measure(path: Path, of: StreamRecord) -> np.ndarray | None:
        """(T, 1 + T): effective prompts, then percent of choices by task of the prompt."""
        rows = read_choices(path)
        if rows.empty:
            return None
        rows = with_tasks(rows, of.task_of_class)
        number = effective_prompts(rows, n_tasks)
        return np.column_stack([number, row_percent(selected_tasks(rows, n_tasks))])

    found = over_seeds(results, dataset, measure)
    if not found:
        return nothing_selected()
    columns = COLUMNS if len(found) == COLUMNS else COLUMNS - 1
    map_rows = -(-len(found) // columns)
    figure = Figure(figsize=(WIDTH, 2.6 + 1.9 * map_rows), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.6, 1.9 * map_rows])
    above, below = parts
    number, own = above.subplots(1, 2)
    # Few of a comparison's methods select: they get the colours that differ most.
    drawn = replace(results.plan, methods=tuple(method for method, _ in found))
    looks, tasks = method_looks(drawn), np.arange(1, n_tasks + 1)
    for method, values in found:
        number.plot(tasks, values[:, 0], **looks[method.name])
        own.plot(tasks, np.diag(values[:, 1:]), **looks[method.name])
    _label(number, "Prompts used (effective number)", tasks)
    number.set_ylim(bottom=0)
    _label(own, "Choices of the own task's prompts [%]", tasks)
    own.set_ylim(-3, 103)
    handles = [Line2D([], [], label=m.heading, **looks[m.name]) for m, _ in found]
    ncols = len(handles) if len(handles) <= 5 else 3
    above.legend(handles=handles, loc="outside lower center", ncols=ncols, frameon=False)
    below.suptitle("Choices by task of the prompt [% of the row]", fontsize="medium")
    axes = list(below.subplots(map_rows, columns, squeeze=False).flat)
    scale, few = percent_scale(n_tasks), n_tasks <= 10
    for axis in axes:
        axis.set_visible(False)
    for axis, (method, values) in zip(axes, found, strict=False):
        axis.set_visible(True)
        ticks = tasks if few else False
        heat_map(axis, values[:, 1:], scale, xticklabels=ticks, yticklabels=ticks)
        axis.set(xlabel="Task of the prompt", ylabel="True task")
        axis.set_title(wrapped(method.heading, 24))
    return figure


def _label(axis: Axes, title: str, tasks: np.ndarray) -> None:
    axis.set(xlabel="Task of the test images", title=title)
    axis.set_xticks(tasks if len(tasks) <= 10 else tasks[:: -(-len(tasks) // 10)])
    axis.grid(axis="y", linewidth=0.4, color="0.9")
