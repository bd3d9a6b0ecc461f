"""The plan: blocks in their order, marks of rehearsal, runs that stand elsewhere."""

from dataclasses import replace
from pathlib import Path

from paper_figures.plan import DatasetColumn, MethodRow, Plan


def test_continual_methods_come_first_then_zero_shot_then_bounds_each_as_planned() -> None:
    rows = (
        MethodRow("upper", "U", "d", bound=True),
        MethodRow("b", "B", "d"),
        MethodRow("clip", "C", "d", zero_shot=True),
        MethodRow("a", "A", "d"),
        MethodRow("both", "D", "d", bound=True, zero_shot=True),
    )
    plan = Plan("p", "P", Path("runs"), rows, (), (1,))
    assert [row.name for row in plan.blocks()] == ["b", "a", "clip", "upper", "both"]
    assert [row.block for row in rows] == [2, 0, 1, 0, 2]


def test_only_rehearsal_is_marked() -> None:
    row = MethodRow("a", "A method", "d")
    assert row.heading == "A method"
    assert replace(row, rehearsal=True).heading == "A method\u00a0†"


def test_a_runs_folder_is_named_by_data_set_method_and_seed_or_stands_elsewhere() -> None:
    other = Path("imported/lab/x")
    plan = Plan(
        "p",
        "P",
        Path("runs"),
        (),
        (DatasetColumn("d", "D"),),
        (1, 2),
        elsewhere={("d", "m", 2): other},
    )
    assert plan.run_folder("d", "m", 1) == Path("runs/d/m/seed1")
    assert plan.run_folder("d", "m", 2) == other
