"""Tables of a comparison: means over seeds in the plan's order, a dash for what there is not."""

from pathlib import Path

import pandas as pd

from paper_figures.tables.comparison import choices_table, errors_table, measured
from tests.helpers.fake_results import fake_plan

PLAN = fake_plan(Path(), methods=4)


def _rows(**columns: list) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_methods_without_rows_are_left_out_and_the_others_keep_the_plans_order() -> None:
    frame = _rows(method=["joint", "method-0", "unknown"])
    assert [row.name for row in measured(PLAN, frame)] == ["method-0", "joint"]


def test_errors_are_means_and_deviations_over_seeds() -> None:
    errors = _rows(
        method=["method-1", "method-1", "method-0"],
        accuracy=[10.0, 20.0, 90.0],
        task=[50.0, 50.0, 95.0],
        within=[1.0, 3.0, 99.0],
    )
    runs = _rows(method=["method-1", "method-1"], forgetting=[4.0, 4.0])
    cells = errors_table(PLAN, errors, runs).cells
    assert list(cells["Method"]) == [PLAN.methods[0].heading, PLAN.methods[1].heading]
    assert list(cells["Last [%]"]) == ["90.0 (n = 1)", "15.0 ± 7.1 (n = 2)"]
    assert list(cells["Task right [%]"]) == ["95.0", "50.0 ± 0.0"]
    assert list(cells["Class right within it [%]"]) == ["99.0", "2.0 ± 1.4"]
    assert list(cells["Forgetting [%]"]) == ["–", "4.0 ± 0.0"]


def test_choices_show_the_own_tasks_share_task_by_task() -> None:
    choices = _rows(
        method=["method-0", "method-0"],
        prompts=[4.0, 6.0],
        effective=[1.0, 2.0],
        shared=[50.0, 50.0],
        own=[25.0, 75.0],
        own_0=[100.0, 100.0],
        own_1=[10.0, 30.0],
    )
    (row,) = choices_table(PLAN, choices).cells.to_dict("records")
    assert row["Prompts used"] == "5.0"
    assert row["by one task"] == "1.5"
    assert row["Shared by two tasks [%]"] == "50.0 ± 0.0"
    assert row["Own task's [%]"] == "50.0 ± 35.4"
    assert row["task by task"] == "100, 20"
