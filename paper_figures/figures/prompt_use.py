"""How prompt methods use their prompts: how many serve a task, and whose they are."""

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.collect import Results
from paper_figures.figures.selection import choices_by_method, nothing_selected
from paper_figures.style import legend, method_looks, panels


def prompt_use(results: Results, dataset: str) -> Figure:
    """Prompts used by each task, and choices of the own task's prompts.

    Which tasks' prompts the other choices took, ``task-selection`` shows.
    """
    found = choices_by_method(results, dataset)
    if not found:
        return nothing_selected()
    tasks = np.arange(1, len(found[0][1].effective) + 1)
    figure, (number, own) = panels(2, 2, 2.1)
    # Few of a comparison's methods select: they get the colours that differ most.
    drawn = replace(results.plan, methods=tuple(method for method, _ in found))
    looks = method_looks(drawn)
    for method, choices in found:
        number.plot(tasks, choices.effective, **looks[method.name])
        own.plot(tasks, np.diag(choices.tasks), **looks[method.name])
    _label(number, "Prompts used (effective number)", tasks)
    number.set_ylim(bottom=0)
    _label(own, "Choices of the own task's prompts [%]", tasks)
    own.set_ylim(-3, 103)
    legend(figure, [method for method, _ in found], looks)
    return figure


def _label(axis: Axes, title: str, tasks: np.ndarray) -> None:
    axis.set(xlabel="Task of the test images", title=title)
    axis.set_xticks(tasks if len(tasks) <= 10 else tasks[:: -(-len(tasks) // 10)])
    axis.grid(axis="y", linewidth=0.4, color="0.9")
