"""The CSV of all runs, as pandas reads it, and what tables say of whose runs are in a cell."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from paper_figures.collect import Results, collect
from paper_figures.plan import Plan
from paper_figures.tables import paper as tables
from paper_figures.tables.forms import all_notes
from paper_figures.tables.runs import write_runs
from starprompt.errors import UserError
from starprompt.record.origins import NOTE, write_origin
from starprompt.record.record import RunRecord, read_record, write_record
from starprompt.record.run_files import RECORD
from tests.helpers import fake_results


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = fake_results.fake_plan(tmp_path / "runs" / "fake", methods=3, datasets=2, seeds=3)
    fake_results.write_fake_runs(plan)
    return plan


def edit(plan: Plan, seed: int, change: Callable[[RunRecord], object], method: str = "method-1"):
    return edit_run(plan, ("set-0", method, seed), change)


def edit_run(plan: Plan, key: tuple[str, str, int], change: Callable[[RunRecord], object]) -> Path:
    folder = plan.run_folder(*key)
    record = read_record(folder / RECORD)
    change(record)
    write_record(folder / RECORD, record)
    return folder


def frame(results: Results, tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(write_runs(results, tmp_path))


def test_pandas_reads_every_run_in_full(plan: Plan, tmp_path: Path) -> None:
    results = collect(plan)
    found = frame(results, tmp_path).set_index(["dataset", "method", "seed"])
    assert len(found) == len(results.records) == 18
    for key, record in results.records.items():
        row = found.loc[key]
        accuracy = record.metrics.final_average_accuracy
        assert row["final_average_accuracy"] == pytest.approx(accuracy, rel=1e-15)  # pandas 2.2
        assert row["tasks"] == 5
        assert row["origin"] == "here"
    assert found["final_average_accuracy"].dtype == float
    assert found["trained_parameters"].dtype == int


def test_a_configuration_is_equal_over_seeds_alone(plan: Plan, tmp_path: Path) -> None:
    edit(plan, 1997, lambda record: record.method.hyperparameters.update(lr=0.1))
    found = frame(collect(plan), tmp_path)
    counts = found.groupby(["dataset", "method"])["configuration"].nunique()
    assert counts["set-0", "method-1"] == 2
    assert (counts.drop(("set-0", "method-1")) == 1).all()


def test_runs_of_one_class_order_have_its_seed_and_one_configuration(
    plan: Plan, tmp_path: Path
) -> None:
    assert (found := frame(collect(plan), tmp_path))["order_seed"].equals(found["seed"])
    for key in collect(plan).records:
        if key[2] != 1993:
            edit_run(plan, key, lambda record: record.extra.update(order_seed=1993))
    found = frame(collect(plan), tmp_path)
    assert (found["order_seed"] == 1993).all()
    assert (found.groupby(["dataset", "method"])["configuration"].nunique() == 1).all()


def test_runs_of_a_fixed_class_order_and_of_their_own_share_no_table(plan: Plan) -> None:
    for method in plan.methods:
        for dataset in plan.datasets:
            key = (dataset.name, method.name, 1997)
            edit_run(plan, key, lambda record: record.extra.update(order_seed=7))
    with pytest.raises(UserError, match="under seed 1997 is that of seed 7"):
        collect(plan)


def test_no_text_of_a_record_becomes_a_formula(plan: Plan, tmp_path: Path) -> None:
    edit(plan, 1997, lambda record: record.device.update(name="=HYPERLINK(1)"))
    found = frame(collect(plan), tmp_path)
    assert not found["device"].astype(str).str.startswith("=").any()


def note(table: tables.Table, method: str, column: int = 1) -> str:
    """The footnote of a method's cell; empty without one."""
    row = next(at for at, text in enumerate(table.cells["Method"]) if text.startswith(method))
    mark = table.marks.get((row, column))
    return next((n for n in all_notes(table) if mark and n.startswith(f"{mark}) ")), "")


def test_a_cell_says_whose_runs_are_in_it(plan: Plan) -> None:
    write_origin(plan.run_folder("set-0", "method-1", 1996), "a-colleague", "0" * 64)
    results = collect(plan)
    title = plan.methods[1].title
    for table in (
        tables.accuracy_table(results),
        tables.metrics_table(results, "set-0"),
        tables.cost_table(results, "set-0"),
    ):
        assert "seed 1996 from a-colleague" in note(table, title)
    assert note(tables.accuracy_table(results), title, column=2) == ""
    assert "from a-colleague" in note(tables.accuracy_table(results), title, column=3)
    assert note(tables.metrics_table(results, "set-1"), title) == ""


def test_runs_of_different_code_do_not_share_a_cell_in_silence(plan: Plan) -> None:
    edit(plan, 1993, lambda record: setattr(record, "method_source", "a" * 64))
    title = plan.methods[1].title
    assert note(tables.accuracy_table(collect(plan)), title) == "", "the others name no code"
    edit(plan, 1996, lambda record: setattr(record, "method_source", "b" * 64))
    said = note(tables.accuracy_table(collect(plan)), title)
    assert "different code: aaaaaaaa (seed 1993), bbbbbbbb (seed 1996)" in said


def test_a_damaged_note_of_origin_is_no_table(plan: Plan) -> None:
    (plan.run_folder("set-0", "method-1", 1996) / NOTE).write_text("{}")
    with pytest.raises(UserError, match=NOTE):
        collect(plan)
