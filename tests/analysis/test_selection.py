"""Which class's prompt images choose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.analysis import selection
from tests.helpers.small_measures import ROWS, TASKS, choices


def test_selection_is_right_newer_and_changed_where_it_is() -> None:
    by_task = selection.by_task(selection.with_tasks(ROWS, TASKS)).set_index(["after_task", "task"])
    assert by_task.loc[(0, 0), ["right_class", "right_task", "newer", "changed"]].tolist() == [
        *(0.5, 1.0, 0.0, 0.0)
    ]
    assert by_task.loc[(1, 0), ["right_class", "right_task", "newer", "changed"]].tolist() == [
        *(0.5, 0.5, 0.5, 0.5)
    ]
    assert by_task.loc[(1, 1), ["right_class", "right_task"]].tolist() == [0.5, 1.0]


def test_selection_by_class() -> None:
    by_class = selection.by_class(selection.with_tasks(ROWS, TASKS))
    last = by_class[by_class["after_task"] == 1].set_index("label")
    assert last["right_class"].tolist() == [0, 1, 0, 1]
    assert last["changed"].tolist() == [1, 0, 0, 0]


def test_an_image_that_comes_back_has_not_changed() -> None:
    rows = choices([(0, 0, 0, 0), (1, 0, 0, 2), (2, 0, 0, 0)])
    changed = selection.with_tasks(rows, np.arange(3))["changed"]
    assert changed.tolist() == [False, True, False]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 999))
def test_confusion_rows_sum_to_one_and_agree_with_counting(
    n_tasks: int, per_task: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    n_classes = n_tasks * per_task
    task_of_class = np.repeat(np.arange(n_tasks), per_task)
    rows = []
    for after in range(n_tasks):
        seen = (after + 1) * per_task
        for image in range(seen * 2):
            rows.append((after, image, image // 2, int(random.integers(seen))))
    frame = selection.confusion(selection.with_tasks(choices(rows), task_of_class), n_tasks)
    sums = frame.groupby(["after_task", "true_task"])["share"].sum()
    assert np.allclose(sums, 1)
    assert (frame["chosen_task"] <= frame["after_task"]).all()
    last = frame[frame["after_task"] == n_tasks - 1].set_index(["true_task", "chosen_task"])
    counted = np.zeros((n_tasks, n_tasks))
    for after, _, true, chosen in rows:
        if after == n_tasks - 1:
            counted[task_of_class[true], task_of_class[chosen]] += 1
    for (true_task, chosen_task), share in last["share"].items():
        own = counted[true_task]
        assert share == pytest.approx(own[chosen_task] / own.sum())
    assert n_classes == len(task_of_class)


def test_confusion_of_nothing_is_empty() -> None:
    nothing = choices([]).astype(int)
    assert selection.confusion(selection.with_tasks(nothing, TASKS), 2).empty
