"""How an experiment's methods compare: where they err, and which prompts they choose.

Everything is measured after the last task on the test images, from predictions and selections.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from paper_figures.collect import Results
from paper_figures.figures.prompt_use import effective_prompts
from paper_figures.figures.selection import (
    read_choices,
    row_percent,
    selected_tasks,
    with_tasks,
)
from paper_figures.plan import MethodRow
from paper_figures.tables.text import TextTable, number
from starprompt.errors import UserError
from starprompt.record.record import PREDICTION_COLUMNS, StreamRecord
from starprompt.record.run_files import PREDICTIONS, SELECTION


def errors(results: Results, dataset: str) -> pd.DataFrame:
    """One row a method and seed, in percent, each a mean over tasks.

    accuracy   of images whose class is named: the final average accuracy
    task       of images for which a class of their own task is named
    within     of those, the images whose class is named
    """
    rows = []
    for method in results.plan.methods:
        for seed in results.plan.seeds:
            stream = results.records[dataset, method.name, seed].stream
            path = results.plan.run_folder(dataset, method.name, seed) / PREDICTIONS
            rows.append(
                {"method": method.name, "seed": seed, **errors_of(_predictions(path), stream)}
            )
    return pd.DataFrame(rows)


def errors_of(predictions: pd.DataFrame, stream: StreamRecord) -> dict[str, float]:
    """``accuracy``, ``task`` and ``within`` of one run's ``predictions.parquet``."""
    last = predictions[predictions["after_task"] == predictions["after_task"].max()]
    tasks = np.asarray(stream.task_of_class)
    right_task = tasks[last["prediction"].to_numpy()] == last["task"].to_numpy()
    right = last["prediction"].to_numpy() == last["label"].to_numpy()
    by_task = pd.DataFrame({"task": last["task"].to_numpy(), "own": right_task, "right": right})
    within = by_task[by_task["own"]]
    return {
        "accuracy": 100 * float(by_task.groupby("task")["right"].mean().mean()),
        "task": 100 * float(by_task.groupby("task")["own"].mean().mean()),
        "within": 100 * float(within.groupby("task")["right"].mean().mean()),
    }


def _predictions(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=list(PREDICTION_COLUMNS))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of predictions ({error}); remove the run, run it again."
        ) from error


def choices(results: Results, dataset: str) -> pd.DataFrame:
    """One row a method that selects prompts and seed; see :func:`choices_of`."""
    rows = []
    for method in results.plan.methods:
        for seed in results.plan.seeds:
            stream = results.records[dataset, method.name, seed].stream
            path = results.plan.run_folder(dataset, method.name, seed) / SELECTION
            chosen = read_choices(path)
            if not chosen.empty:
                measured = choices_of(chosen, stream)
                rows.append({"method": method.name, "seed": seed, **measured})
    return pd.DataFrame(rows)


def choices_of(chosen: pd.DataFrame, stream: StreamRecord) -> dict[str, float]:
    """How one run's images choose among its prompts, averaged over layers and tasks.

    prompts    different prompts that the images of all tasks choose, at least once
    effective  effective number of prompts of a task's images (exponential of the entropy)
    shared     percent of choices that two different tasks have in common, mean over pairs: the
               sum over prompts of the smaller share; 100 where all tasks choose alike
    own        percent of choices that fall on the own task's prompts
    own_0 ...  the same of each task
    """
    n_tasks = max(stream.task_of_class) + 1
    rows = with_tasks(chosen, stream.task_of_class)
    last = rows[(rows["after_task"] == rows["after_task"].max()) & (rows["weight"] > 0)]
    used = last.groupby("layer")["prompt"].nunique().mean()
    own = np.diag(row_percent(selected_tasks(rows, n_tasks)))
    return {
        "prompts": float(used),
        "effective": float(np.nanmean(effective_prompts(rows, n_tasks))),
        "shared": 100 * float(np.mean([_shared(part) for _, part in last.groupby("layer")])),
        "own": float(np.nanmean(own)),
        **{f"own_{task}": float(share) for task, share in enumerate(own)},
    }


def _shared(rows: pd.DataFrame) -> float:
    """Of one layer: mean over pairs of tasks of the sum over prompts of the smaller share."""
    weight = rows.pivot_table(
        index="true_task", columns="prompt", values="weight", aggfunc="sum", fill_value=0.0
    )
    share = weight.div(weight.sum(axis=1), axis=0).to_numpy()
    pairs = [np.minimum(share[i], share[j]).sum() for i in range(len(share)) for j in range(i)]
    return float(np.mean(pairs)) if pairs else 1.0


def errors_table(results: Results, dataset: str) -> TextTable:
    """Final accuracy, and whether an error names another task's class or a wrong one of the own."""
    frame = errors(results, dataset)
    forgetting = results.runs[results.runs["dataset"] == dataset].groupby("method")["forgetting"]
    by_method = frame.groupby("method")
    cells = pd.DataFrame(
        [
            {
                "Method": method.heading,
                "Final [%]": spread(by_method["accuracy"].get_group(method.name)),
                "Task right [%]": spread(by_method["task"].get_group(method.name)),
                "Class right within it [%]": spread(by_method["within"].get_group(method.name)),
                "Forgetting [%]": spread(forgetting.get_group(method.name)),
            }
            for method in results.plan.methods
        ]
    )
    return TextTable("errors", f"Where the methods err. {results.plan.title}.", cells, frame)


def choices_table(results: Results, dataset: str) -> TextTable:
    """Which prompts the methods that select some choose."""
    frame = choices(results, dataset)
    rows = []
    for method in selecting(results, frame):
        own = frame[frame["method"] == method.name]
        by_task = [own[c].mean() for c in own.columns if c.startswith("own_")]
        rows.append(
            {
                "Method": method.heading,
                "Prompts used": number(own["prompts"].mean(), 1),
                "by one task": number(own["effective"].mean(), 1),
                "Shared by two tasks [%]": spread(own["shared"]),
                "Own task's [%]": spread(own["own"]),
                "task by task": ", ".join(number(share, 0) for share in by_task),
            }
        )
    return TextTable(
        "choices", f"Which prompts are chosen. {results.plan.title}.", pd.DataFrame(rows), frame
    )


def selecting(results: Results, frame: pd.DataFrame) -> list[MethodRow]:
    """The methods of ``choices``, in the plan's order."""
    present = set(frame["method"]) if len(frame) else set()
    return [method for method in results.plan.methods if method.name in present]


def spread(values: pd.Series) -> str:
    """Mean ± sample deviation over seeds; a dash for none."""
    values = values.dropna()
    if values.empty:
        return "–"
    mean = number(float(values.mean()), 1)
    return mean if len(values) < 2 else f"{mean} ± {number(float(values.std()), 1)}"
