"""Which prompts images choose, for every kind of prompt: a class's own, a task's own, a pool's.

:mod:`starprompt.analysis.selection` asks more of those methods whose classes have prompts of their
own.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from starprompt.errors import UserError
from starprompt.record.record import SELECTION_COLUMNS, StreamRecord, checked_file


def read_choices(path: Path) -> pd.DataFrame:
    """``selection.parquet`` as a frame; no rows for a method that selects nothing.

    Raises :class:`UserError` naming the file when it is missing or damaged.
    """
    try:
        return pd.read_parquet(checked_file(path), columns=list(SELECTION_COLUMNS))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of selections ({error}); remove the run, run it again."
        ) from error


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


def with_tasks(rows: pd.DataFrame, task_of_class: Sequence[int]) -> pd.DataFrame:
    """The rows with ``true_task`` and ``prompt_task``, the task that the chosen prompt belongs to.

    A prompt that is a class's or a task's own belongs to that task. One of a shared pool belongs to
    the task whose images gave it the largest share of their choices just after that task was
    learned; one that was not chosen then, to the task that does so after the last.
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
    # Chosen neither right after an image's own task nor at the end: of no task.
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


def effective_prompts(rows: pd.DataFrame, n_tasks: int) -> np.ndarray:
    """(T,) effective number of prompts that each true task's images choose after the last task.

    The exponential of the entropy of their choices: 1 where all choose one prompt, n where n serve
    equally. Averaged over layers; NaN for a task without rows. rows as ``with_tasks`` gives them.
    """
    last = rows[rows["after_task"] == rows["after_task"].max()]
    weight = last.groupby(["true_task", "layer", "prompt"])["weight"].sum()
    share = weight / weight.groupby(["true_task", "layer"]).transform("sum")
    entropy = -(share * np.log(share.where(share > 0, 1.0))).groupby(["true_task", "layer"]).sum()
    number = np.exp(entropy).groupby("true_task").mean()
    return number.reindex(range(n_tasks)).to_numpy()


def row_percent(counts: np.ndarray) -> np.ndarray:
    """Counts (n, n) as percent of their row; a row without images stays NaN."""
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return 100 * counts / totals


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
