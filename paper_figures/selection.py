"""Which prompt did an image choose? Confusion of the chosen prompt's task or class with the true.

After the last task, over all test images, averaged over layers and seeds. A row is a true task or
class and sums to 100%.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.plan import MethodRow
from paper_figures.style import MAX_NAMED, colour_bar, heat_map, panels, percent_scale, wrapped
from starprompt.continual.record import StreamRecord
from starprompt.errors import UserError


def selected_classes(path: Path, n_classes: int) -> np.ndarray | None:
    """Counts (n_classes, n_classes) of true class by chosen class after the last task.

    Layers are added up. None for a method that selects nothing (a table without rows). Classes
    are in stream order. Raises :class:`UserError` naming the file when it is missing or damaged.
    """
    try:
        table = pq.read_table(path, columns=["after_task", "true_class", "chosen_class"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of selections ({error}); remove the run, run it again."
        ) from error
    if not len(table):
        return None
    columns = {name: table[name].to_numpy() for name in table.column_names}
    last = columns["after_task"] == columns["after_task"].max()
    true = columns["true_class"][last].astype(np.int64)
    chosen = columns["chosen_class"][last].astype(np.int64)
    if min(true.min(), chosen.min()) < 0 or max(true.max(), chosen.max()) >= n_classes:
        raise UserError(
            f"{path} names a class outside 0 to {n_classes - 1}; remove the run, run it again."
        )
    return np.bincount(true * n_classes + chosen, minlength=n_classes**2).reshape(
        n_classes, n_classes
    )


def row_percent(counts: np.ndarray) -> np.ndarray:
    """Counts (n, n) as percent of their row; a row without images stays NaN."""
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return 100 * counts / totals


def by_task(counts: np.ndarray, task_of_class: list[int]) -> np.ndarray:
    """Add up (C, C) counts of classes in stream order to (T, T) counts of their tasks."""
    belongs = np.eye(max(task_of_class) + 1, dtype=np.int64)[task_of_class]
    return belongs.T @ counts @ belongs


def by_source_class(counts: np.ndarray, class_order: list[int]) -> np.ndarray:
    """Sort (C, C) counts from stream order into the data set's own order, equal for all seeds."""
    return counts[np.ix_(class_order, class_order)]


def task_selection(results: Results, dataset: str) -> Figure:
    """True task by task of the chosen prompt, one panel a method that selects."""
    n_tasks = max(_any_stream(results, dataset).task_of_class) + 1
    labels = range(1, n_tasks + 1)

    def dress(axis: Axes, values: np.ndarray) -> None:
        heat_map(axis, values, percent_scale(len(values)), xticklabels=labels, yticklabels=labels)
        axis.set(xlabel="Task of the chosen prompt", ylabel="True task")

    return _grid(
        results,
        dataset,
        lambda counts, stream: row_percent(by_task(counts, stream.task_of_class)),
        dress,
        columns=3 if n_tasks <= 6 else 2,
        height=2.2 if n_tasks <= 6 else 3.1,
    )


def class_selection(results: Results, dataset: str) -> Figure:
    """True class by class of the chosen prompt, one panel a method that selects.

    Classes in the data set's own order. Beyond MAX_NAMED classes their names are left out.
    """
    stream = _any_stream(results, dataset)
    names = [_short(stream.class_names[label]) for label in stream.class_order]
    named = len(names) <= MAX_NAMED
    ticks = names if named else False

    def dress(axis: Axes, values: np.ndarray) -> None:
        heat_map(axis, values, percent_scale(len(values)), xticklabels=ticks, yticklabels=ticks)
        if named:
            axis.set_xticklabels(axis.get_xticklabels(), rotation=90)
            axis.tick_params(labelsize=6 if len(names) <= 20 else 4)
        axis.set(xlabel="Class of the chosen prompt", ylabel="True class")

    return _grid(
        results,
        dataset,
        lambda counts, of: row_percent(by_source_class(counts, of.class_order)),
        dress,
        columns=2,
        height=3.3,
    )


def _grid(
    results: Results,
    dataset: str,
    share: Callable[[np.ndarray, StreamRecord], np.ndarray],
    dress: Callable[[Axes, np.ndarray], None],
    columns: int,
    height: float,
) -> Figure:
    """One heat map a method that selects, its shares averaged over seeds."""
    maps: list[tuple[MethodRow, np.ndarray]] = []
    for method in results.plan.methods:
        shares = []
        for seed in results.plan.seeds:
            stream = results.records[dataset, method.name, seed].stream
            folder = results.plan.run_folder(dataset, method.name, seed)
            counts = selected_classes(folder / "selection.parquet", len(stream.class_names))
            if counts is not None:
                shares.append(share(counts, stream))
        if shares:
            maps.append((method, np.mean(shares, axis=0)))
    if not maps:
        return _nothing_selected()
    figure, axes = panels(len(maps), columns, height)
    for axis, (method, values) in zip(axes, maps, strict=True):
        dress(axis, values)
        axis.set_title(wrapped(method.heading, 34))
    scale = percent_scale(len(maps[0][1]))
    colour_bar(figure, axes, scale, "Share of the row [%]")
    return figure


def _nothing_selected() -> Figure:
    figure, (axis,) = panels(1, 1, 1.5)
    axis.set_axis_off()
    axis.text(0.5, 0.5, "No method here selects prompts.", ha="center", va="center")
    return figure


def _any_stream(results: Results, dataset: str) -> StreamRecord:
    plan = results.plan
    return results.records[dataset, plan.methods[0].name, plan.seeds[0]].stream


def _short(name: str, limit: int = 24) -> str:
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"
