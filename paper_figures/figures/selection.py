"""Which prompt did an image choose? Confusion of the chosen prompt's task or class with the true.

After the last task, over all test images, averaged over layers and seeds. A row is a true task or
class and sums to 100%.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.plan import MethodRow
from paper_figures.style import (
    MAX_NAMED,
    colour_bar,
    heat_map,
    panels,
    percent_scale,
    sentence,
    wrapped,
)
from starprompt.analysis.prompt_choices import (
    read_choices,
    row_percent,
    selected_classes,
    selected_tasks,
    with_tasks,
)
from starprompt.record.record import StreamRecord
from starprompt.record.run_files import SELECTION


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

    def share(path: Path, stream: StreamRecord) -> np.ndarray | None:
        rows = read_choices(path)
        if rows.empty:
            return None
        return row_percent(selected_tasks(with_tasks(rows, stream.task_of_class), n_tasks))

    return _grid(
        results,
        dataset,
        share,
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

    def share(path: Path, of: StreamRecord) -> np.ndarray | None:
        counts = selected_classes(path, len(of.class_names))
        return None if counts is None else row_percent(by_source_class(counts, of.class_order))

    return _grid(
        results,
        dataset,
        share,
        dress,
        columns=2,
        height=3.3,
    )


def _grid(
    results: Results,
    dataset: str,
    share: Callable[[Path, StreamRecord], np.ndarray | None],
    dress: Callable[[Axes, np.ndarray], None],
    columns: int,
    height: float,
) -> Figure:
    """One heat map a method that selects, its shares averaged over seeds."""
    maps = over_seeds(results, dataset, share)
    if not maps:
        return nothing_selected()
    figure, axes = panels(len(maps), columns, height)
    for axis, (method, values) in zip(axes, maps, strict=True):
        dress(axis, values)
        axis.set_title(wrapped(method.heading, 34))
    scale = percent_scale(len(maps[0][1]))
    colour_bar(figure, axes, scale, "Share of the row [%]")
    return figure


def over_seeds(
    results: Results, dataset: str, measure: Callable[[Path, StreamRecord], np.ndarray | None]
) -> list[tuple[MethodRow, np.ndarray]]:
    """``measure`` of each method's selections, averaged over seeds, where there are any."""
    found = []
    for method in results.plan.methods:
        values = []
        for seed, record in results.of(dataset, method.name).items():
            folder = results.plan.run_folder(dataset, method.name, seed)
            value = measure(folder / SELECTION, record.stream)
            if value is not None:
                values.append(value)
        if values:
            found.append((method, np.mean(values, axis=0)))
    return found


def nothing_selected() -> Figure:
    """The figure of methods that select no prompts."""
    return sentence("No method here selects prompts.")


def _any_stream(results: Results, dataset: str) -> StreamRecord:
    stream = results.stream(dataset)
    if stream is None:
        raise ValueError(f"no run on {dataset} has finished")
    return stream


def _short(name: str, limit: int = 24) -> str:
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"
