"""Which prompt did an image choose? Confusion of the chosen prompt's task or class with the true.

After the last task, over all test images, averaged over layers and seeds. A row is a true task or
class and sums to 100%.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.plan import MethodRow
from paper_figures.style import MAX_NAMED, colour_bar, heat_map, panels, percent_scale, wrapped
from starprompt.errors import UserError
from starprompt.record.record import SELECTION_COLUMNS, StreamRecord
from starprompt.record.run_files import SELECTION


def selected_classes(path: Path, n_classes: int) -> np.ndarray | None:
    """Counts (n_classes, n_classes) of true class by chosen class after the last task.

    Layers are added up. None for a method whose classes have no prompts of their own. Classes
    are in stream order. Raises :class:`UserError` naming the file when it is missing or damaged.
    """
    rows = read_choices(path)
    rows = rows[(rows["chosen_class"] >= 0) & (rows["after_task"] == rows["after_task"].max())]
    if rows.empty:
        return None
    true, chosen = rows["true_class"].to_numpy(np.int64), rows["chosen_class"].to_numpy(np.int64)
    if true.min() < 0 or max(true.max(), chosen.max()) >= n_classes:
        raise UserError(
            f"{path} names a class outside 0 to {n_classes - 1}; remove the run, run it again."
        )
    return np.bincount(true * n_classes + chosen, minlength=n_classes**2).reshape(
        n_classes, n_classes
    )


def read_choices(path: Path) -> pd.DataFrame:
    """``selection.parquet`` as a frame; no rows for a method that selects nothing.

    Raises :class:`UserError` naming the file when it is missing or damaged.
    """
    try:
        return pd.read_parquet(path, columns=list(SELECTION_COLUMNS))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of selections ({error}); remove the run, run it again."
        ) from error


def with_tasks(rows: pd.DataFrame, task_of_class: list[int]) -> pd.DataFrame:
    """The rows with ``true_task`` and ``prompt_task``, the task that the chosen prompt belongs to.

    A prompt that is a class's or a task's own belongs to that task. One of a shared pool belongs to
    the task whose images gave it the largest share of their choices just after that task was
    learned; one that nobody chose then, to the task that does so after the last.
    """
    of = np.asarray(task_of_class)
    chosen = rows["chosen_class"].to_numpy()
    own = np.where(chosen >= 0, of[np.maximum(chosen, 0)], rows["chosen_task"].to_numpy())
    rows = rows.assign(true_task=of[rows["true_class"].to_numpy()], prompt_task=own)
    shared = rows[rows["prompt_task"] < 0]
    if shared.empty:
        return rows
    home = _most_devoted(shared[shared["after_task"] == shared["after_task"].max()])
    home.update(_most_devoted(shared[shared["after_task"] == shared["true_task"]]))
    keys = zip(shared["layer"], shared["prompt"], strict=True)
    # A prompt chosen only in between has no home and shows in no figure.
    rows.loc[shared.index, "prompt_task"] = [home.get(key, -1) for key in keys]
    return rows


def _most_devoted(rows: pd.DataFrame) -> dict[tuple[int, int], int]:
    """By layer and prompt the task that gives it the largest share of its own choices."""
    weights = rows.pivot_table(
        index=["layer", "prompt"], columns="true_task", values="weight", aggfunc="sum"
    )
    return (weights.fillna(0.0) / weights.sum(axis=0)).idxmax(axis=1).to_dict()


def selected_tasks(rows: pd.DataFrame, n_tasks: int) -> np.ndarray:
    """(T, T) weight of true task by task of the chosen prompt, after the last task.

    rows as :func:`with_tasks` gives them; layers are added up.
    """
    last = rows[(rows["after_task"] == rows["after_task"].max()) & (rows["prompt_task"] >= 0)]
    place = last["true_task"].to_numpy() * n_tasks + last["prompt_task"].to_numpy()
    return np.bincount(place, weights=last["weight"], minlength=n_tasks**2).reshape(
        n_tasks, n_tasks
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
        for seed in results.plan.seeds:
            stream = results.records[dataset, method.name, seed].stream
            folder = results.plan.run_folder(dataset, method.name, seed)
            value = measure(folder / SELECTION, stream)
            if value is not None:
                values.append(value)
        if values:
            found.append((method, np.mean(values, axis=0)))
    return found


def nothing_selected() -> Figure:
    figure, (axis,) = panels(1, 1, 1.5)
    axis.set_axis_off()
    axis.text(0.5, 0.5, "No method here selects prompts.", ha="center", va="center")
    return figure


def _any_stream(results: Results, dataset: str) -> StreamRecord:
    plan = results.plan
    return results.records[dataset, plan.methods[0].name, plan.seeds[0]].stream


def _short(name: str, limit: int = 24) -> str:
    return name if len(name) <= limit else name[: limit - 1].rstrip() + "…"
