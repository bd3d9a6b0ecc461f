"""Which class's prompt did images choose, and how does that change while tasks go by?

All of it from ``selection.parquet``: one row a test image, layer and evaluation. Shares are over
images and layers alike.
"""

import numpy as np
import pandas as pd


def with_tasks(selection: pd.DataFrame, task_of_class: np.ndarray) -> pd.DataFrame:
    """The rows with ``true_task``, ``chosen_task`` and what they tell.

    right_class, right_task  whether the chosen prompt is of the image's own class, own task
    newer                    whether it is of a later task than the image's own
    changed                  whether it is another class's than just after the image's own task
    """
    rows = selection.assign(
        true_task=task_of_class[selection["true_class"].to_numpy()],
        chosen_task=task_of_class[selection["chosen_class"].to_numpy()],
    )
    keys = ["image_id", "layer"]
    first = rows.sort_values("after_task", kind="stable").drop_duplicates(keys)
    first = first.set_index(keys)["chosen_class"]
    before = first.reindex(pd.MultiIndex.from_frame(rows[keys])).to_numpy()
    return rows.assign(
        right_class=rows["chosen_class"] == rows["true_class"],
        right_task=rows["chosen_task"] == rows["true_task"],
        newer=rows["chosen_task"] > rows["true_task"],
        changed=rows["chosen_class"].to_numpy() != before,
    )


_SHARES = ["right_class", "right_task", "newer", "changed"]


def by_task(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of right and of changed choices, one row an evaluation and true task."""
    grouped = rows.groupby(["after_task", "true_task"], as_index=False)[_SHARES].mean()
    return grouped.rename(columns={"true_task": "task"})


def by_class(rows: pd.DataFrame) -> pd.DataFrame:
    """The same, one row an evaluation and true class (stream label)."""
    grouped = rows.groupby(["after_task", "true_class"], as_index=False)[_SHARES].mean()
    return grouped.rename(columns={"true_class": "label"})


def confusion(rows: pd.DataFrame, n_tasks: int) -> pd.DataFrame:
    """After every evaluation, the share of each true task's choices that fall on each task.

    One row an evaluation, true task and chosen task seen by then; shares of a true task sum to 1.
    """
    counts = rows.groupby(["after_task", "true_task", "chosen_task"]).size()
    frames = []
    for after_task in sorted(rows["after_task"].unique()):
        here = counts.loc[after_task].unstack(fill_value=0)
        here = here.reindex(columns=range(n_tasks), fill_value=0)
        shares = here.div(here.sum(axis=1), axis=0).loc[:, : here.index.max()]
        long = shares.rename_axis(columns="chosen_task").stack().rename("share").reset_index()
        frames.append(long.assign(after_task=after_task))
    columns = ["after_task", "true_task", "chosen_task", "share"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)
