"""Which prompts images choose, for every kind of prompt: a class's own, a task's own, a pool's.

:mod:`starprompt.analysis.selection` asks more of those methods whose classes have prompts of their
own.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from starprompt.errors import UserError
from starprompt.record.record import SELECTION_COLUMNS, RunRecord, StreamRecord, checked_file


def read_choices(path: Path, record: RunRecord | None = None) -> pd.DataFrame:
    """``selection.parquet`` as a frame; no rows for a method that selects nothing.

    record  the run's; read from beside the file when None

    Raises :class:`UserError` naming the file when it is missing or damaged.
    """
    try:
        return pd.read_parquet(checked_file(path, record), columns=list(SELECTION_COLUMNS))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of selections ({error}); remove the run's folder and run "
            "it again."
        ) from error


def selected_classes(rows: pd.DataFrame, n_classes: int, path: Path) -> np.ndarray | None:
    """Counts (n_classes, n_classes) of true class by chosen class after the last task.

    rows  as :func:`read_choices` gives them of the file at ``path``

    Layers are added up. None for a method whose classes have no prompts of their own. Classes
    are in stream order. Raises :class:`UserError` naming the file when a class is out of range.
    """
    rows = rows[(rows["chosen_class"] >= 0) & (rows["after_task"] == rows["after_task"].max())]
    if rows.empty:
        return None
    true, chosen = rows["true_class"].to_numpy(np.int64), rows["chosen_class"].to_numpy(np.int64)
    if true.min() < 0 or max(true.max(), chosen.max()) >= n_classes:
        raise UserError(
            f"{path} names a class outside 0 to {n_classes - 1}; remove the run's folder and "
            "run it again."
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
    layer, prompt = (shared[name].to_numpy(np.int64) for name in ("layer", "prompt"))
    # Chosen neither right after an image's own task nor at the end: of no task.
    home = np.full((layer.max() + 1, prompt.max() + 1), -1)
    after = shared["after_task"]
    for chosen in (shared[after == after.max()], shared[after == shared["true_task"]]):
        where, task = _most_devoted(chosen)
        home[where] = task
    rows.loc[shared.index, "prompt_task"] = home[layer, prompt]
    return rows


def _most_devoted(rows: pd.DataFrame) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Layers and prompts, and for each the task that gives it the largest share of its choices."""
    if rows.empty:
        none = np.empty(0, np.int64)
        return (none, none), none
    index = [rows[name].to_numpy(np.int64) for name in ("layer", "prompt", "true_task")]
    shape = tuple(int(part.max()) + 1 for part in index)
    place = np.ravel_multi_index(index, shape)
    weights = np.bincount(place, rows["weight"], minlength=np.prod(shape)).reshape(shape)
    there = np.bincount(place, minlength=np.prod(shape)).reshape(shape).any(axis=2)
    total = weights.sum(axis=(0, 1))
    # a task that gave no weight at all has no share
    share = np.where(total > 0, weights / np.where(total > 0, total, 1.0), -1.0)
    layers, prompts = np.nonzero(there)
    return (layers, prompts), share[there].argmax(axis=1)


def prompt_weights(rows: pd.DataFrame) -> np.ndarray:
    """(layers, tasks, prompts) weight that each true task's images give each prompt after the last
    task; layers and prompts are those chosen then. rows as :func:`with_tasks` gives them."""
    last = rows[(rows["after_task"] == rows["after_task"].max()) & (rows["weight"] > 0)]
    layers, layer = np.unique(last["layer"], return_inverse=True)
    prompts, prompt = np.unique(last["prompt"], return_inverse=True)
    task = last["true_task"].to_numpy()
    shape = (len(layers), int(task.max()) + 1, len(prompts))
    place = np.ravel_multi_index((layer, task, prompt), shape)
    return np.bincount(place, last["weight"], minlength=np.prod(shape)).reshape(shape)


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
    share = _shares(prompt_weights(rows))
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a task without rows has no mean
        number = np.nanmean(np.exp(entropy), axis=0)
    return np.pad(number, (0, n_tasks - len(number)), constant_values=np.nan)


def _shares(weights: np.ndarray) -> np.ndarray:
    """Each (layer, task)'s weights as shares of their sum; NaN where a task chose nothing."""
    with np.errstate(invalid="ignore"):
        return weights / weights.sum(axis=2, keepdims=True)


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
    weights = prompt_weights(rows)
    used = (weights > 0).any(axis=1).sum(axis=1).mean()
    own = np.diag(row_percent(selected_tasks(rows, n_tasks)))
    return {
        "prompts": float(used),
        "effective": float(np.nanmean(effective_prompts(rows, n_tasks))),
        "shared": 100 * float(np.mean([_shared(share) for share in _shares(weights)])),
        "own": float(np.nanmean(own)),
        **{f"own_{task}": float(share) for task, share in enumerate(own)},
    }


def _shared(share: np.ndarray) -> float:
    """Of one layer's (tasks, prompts): mean over pairs of tasks of the sum over prompts of the
    smaller share."""
    share = share[~np.isnan(share).any(axis=1)]
    pairs = [np.minimum(share[i], share[j]).sum() for i in range(len(share)) for j in range(i)]
    return float(np.mean(pairs)) if pairs else 1.0
