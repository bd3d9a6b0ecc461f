"""Selections and features small enough to count by hand."""

import numpy as np
import pandas as pd


def choices(rows: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    """(after_task, image, true class, chosen class) of one layer."""
    frame = pd.DataFrame(rows, columns=["after_task", "image_id", "true_class", "chosen_class"])
    return frame.assign(layer=0, similarity=1.0)


#: two tasks of two classes; image 0 of class 0 goes over to class 2, image 1 of class 1 stays
TASKS = np.array([0, 0, 1, 1])
ROWS = choices([(0, 0, 0, 1), (0, 1, 1, 1), (1, 0, 0, 2), (1, 1, 1, 1), (1, 2, 2, 3), (1, 3, 3, 3)])


def clusters(random: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features of three well separated classes, n of each, and their labels."""
    labels = np.repeat([0, 1, 2], n)
    return 6 * np.eye(3)[labels] + random.standard_normal((3 * n, 3)), labels
