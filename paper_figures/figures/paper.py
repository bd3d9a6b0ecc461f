"""Every figure of an experiment, by the name of its file."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.figures.curves import accuracy_curves, task_accuracy
from paper_figures.figures.features import features
from paper_figures.figures.prompt_use import prompt_use
from paper_figures.figures.published import published
from paper_figures.figures.selection import class_selection, task_selection
from paper_figures.figures.tradeoffs import accuracy_against_cost, forgetting_by_task
from paper_figures.stamps import adopt, current
from paper_figures.style import paper_style, save, sentence

#: A figure a data set each; the file is ``<kind>-<dataset>``.
KINDS: dict[str, Callable[[Results, str], Figure]] = {
    "curves": accuracy_curves,
    "task-accuracy": task_accuracy,
    "task-selection": task_selection,
    "class-selection": class_selection,
    "prompt-use": prompt_use,
    "published": published,
    "accuracy-cost": accuracy_against_cost,
    "forgetting": forgetting_by_task,
    "features": features,
}


def write_figures(results: Results, folder: Path, processes: int = 1) -> list[Path]:
    """Draw every kind for every data set, PDF and PNG each; return their paths.

    processes  that share the data sets
    """
    parts = [results.only(dataset.name) for dataset in results.plan.datasets]
    processes = min(processes, len(parts))
    if processes < 2:
        return [path for part in parts for path in _draw(part, folder)]
    # Not by fork: libraries have threads of their own by now.
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=adopt, initargs=(current(),)
    ) as pool:
        return [path for paths in pool.map(_draw, parts, repeat(folder)) for path in paths]


def _draw(results: Results, folder: Path) -> list[Path]:
    """Every kind for the one data set of these results."""
    (dataset,) = results.plan.datasets
    written = []
    with paper_style():
        for kind, draw in KINDS.items():
            figure = (
                draw(results, dataset.name)
                if results.stream(dataset.name)
                else sentence("No run on this data set has finished.")
            )
            written += save(figure, folder, f"{kind}-{dataset.name}")
    return written
