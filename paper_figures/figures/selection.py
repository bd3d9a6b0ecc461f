"""Which prompt did an image choose? Confusion of the chosen prompt's task or class with the true.

After the last task, over all test images, averaged over layers and seeds. A row is a true task or
class and sums to 100%.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.figures.heat_maps import Map, heat_maps
from paper_figures.plan import MethodRow
from paper_figures.style import MAX_NAMED, sentence, shortened
from starprompt.analysis.prompt_choices import (
    effective_prompts,
    read_choices,
    row_percent,
    selected_classes,
    selected_tasks,
    with_tasks,
)
from starprompt.record.record import RunRecord, StreamRecord
from starprompt.record.run_files import SELECTION


def by_task(counts: np.ndarray, task_of_class: list[int]) -> np.ndarray:
    """Add up (C, C) counts of classes in stream order to (T, T) counts of their tasks."""
    belongs = np.eye(max(task_of_class) + 1, dtype=np.int64)[task_of_class]
    return belongs.T @ counts @ belongs


def by_source_class(counts: np.ndarray, class_order: list[int]) -> np.ndarray:
    """Sort (C, C) counts from stream order into the data set's own order, equal for all seeds."""
    return counts[np.ix_(class_order, class_order)]


@dataclass(frozen=True)
class Choices:
    """What figures show of one run's choices, or the mean over a method's runs.

    tasks      (T, T) percent: true task by task of the chosen prompt
    classes    (C, C) percent, in the data set's own order; None where classes have no prompts of
               their own
    effective  (T,) effective number of prompts that a task's images choose
    """

    tasks: np.ndarray
    classes: np.ndarray | None
    effective: np.ndarray


def task_selection(results: Results, dataset: str) -> Figure:
    """True task by task of the chosen prompt, one panel a method that selects."""
    found = choices_by_method(results, dataset)
    if not found:
        return nothing_selected()
    names = [str(task + 1) for task in range(len(found[0][1].tasks))]
    maps = [Map(method.heading, choices.tasks) for method, choices in found]
    return heat_maps(maps, names, "Task of the chosen prompt", "True task", "Share of the row [%]")


def class_selection(results: Results, dataset: str) -> Figure:
    """True class by class of the chosen prompt, one panel a method whose classes have prompts.

    Classes in the data set's own order. Beyond MAX_NAMED classes their names are left out.
    """
    maps = [
        Map(method.heading, choices.classes)
        for method, choices in choices_by_method(results, dataset)
        if choices.classes is not None
    ]
    if not maps:
        return nothing_selected()
    stream = _any_stream(results, dataset)
    names = [shortened(stream.class_names[label], 24) for label in stream.class_order]
    return heat_maps(
        maps,
        names if len(names) <= MAX_NAMED else None,
        "Class of the chosen prompt",
        "True class",
        "Share of the row [%]",
    )


def choices_by_method(results: Results, dataset: str) -> list[tuple[MethodRow, Choices]]:
    """The methods that choose prompts, with means over their finished runs.

    Runs' files are read once; what three figures need of them is kept in ``results``.
    """
    if dataset not in results.measured:
        found = []
        for method in results.plan.methods:
            runs = [
                choices_of_run(
                    results.plan.run_folder(dataset, method.name, seed) / SELECTION, record
                )
                for seed, record in results.of(dataset, method.name).items()
            ]
            choosing = [run for run in runs if run is not None]
            if choosing:
                found.append((method, _mean(choosing)))
        results.measured[dataset] = found
    return results.measured[dataset]


def choices_of_run(path: Path, record: RunRecord) -> Choices | None:
    """What one run chose; None where it chooses nothing.

    path  the run's ``selection.parquet``

    Raises :class:`UserError` when the file is missing or damaged.
    """
    chosen = read_choices(path, record)
    if chosen.empty:
        return None
    stream = record.stream
    rows = with_tasks(chosen, stream.task_of_class)
    n_tasks = max(stream.task_of_class) + 1
    counts = selected_classes(chosen, len(stream.class_names), path)
    return Choices(
        row_percent(selected_tasks(rows, n_tasks)),
        None if counts is None else row_percent(by_source_class(counts, stream.class_order)),
        effective_prompts(rows, n_tasks),
    )


def _mean(runs: list[Choices]) -> Choices:
    classes = [run.classes for run in runs if run.classes is not None]
    return Choices(
        np.mean([run.tasks for run in runs], axis=0),
        np.mean(classes, axis=0) if classes else None,
        np.mean([run.effective for run in runs], axis=0),
    )


def nothing_selected() -> Figure:
    """The figure of methods that select no prompts."""
    return sentence("No method here selects prompts.")


def _any_stream(results: Results, dataset: str) -> StreamRecord:
    stream = results.stream(dataset)
    if stream is None:
        raise ValueError(f"no run on {dataset} has finished")
    return stream
