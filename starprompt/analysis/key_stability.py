"""Do the keys stay where they were? Cosine drift of each class's key since its own task."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def key_drift(keys: Sequence[np.ndarray], task_of_class: np.ndarray) -> pd.DataFrame:
    """1 - cos between a class's key after a task and just after the class's own task.

    keys[t] (seen after t, d); task_of_class (C,). One row a task and class seen: after_task,
    label, drift (0 for a key that has not turned, 2 for one turned round).
    """
    rows = []
    for after_task, now in enumerate(keys):
        for label in range(len(now)):
            own = keys[int(task_of_class[label])][label]
            rows.append((after_task, label, 1 - _cosine(now[label], own)))
    return pd.DataFrame(rows, columns=["after_task", "label", "drift"])


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first.astype(np.float64), second.astype(np.float64)
    return float(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))
