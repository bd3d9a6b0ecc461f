"""A record is believed only where it agrees with itself, its folder and its own digest."""

import errno
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paper_figures.plan import Plan
from starprompt.errors import UserError
from starprompt.files import SEAL, digest_of
from starprompt.record import record as module
from starprompt.record.origins import write_origin
from starprompt.record.record import checked_file, read_record, write_record
from starprompt.record.run_files import CHECKPOINT, RECORD
from tests.helpers import fake_results


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = fake_results.fake_plan(tmp_path / "results" / "runs" / "fake", methods=3, seeds=2)
    fake_results.write_fake_runs(plan)
    return plan


def path_of(plan: Plan, method: str = "method-0", seed: int = 1993) -> Path:
    return plan.run_folder("set-0", method, seed) / RECORD


def change(path: Path, edit: Callable[[dict[str, Any]], object], *, sealed: bool = True) -> None:
    """Edit a record's JSON; with a digest that fits, or with none, as records had before."""
    value = json.loads(path.read_text())
    del value[SEAL]
    edit(value)
    if sealed:
        value[SEAL] = digest_of(value)
    path.write_text(json.dumps(value))


def metric(value: float) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["metrics"].update(final_average_accuracy=value)


def cell(row: int, column: int, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["accuracy"][row].__setitem__(column, value)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize(
    "edit",
    [
        metric(99.99),
        metric(1e9),
        metric(math.nan),
        lambda record: record["metrics"].update(forgetting=None),
        lambda record: record["metrics"].update(backward_transfer=0.5),
        cell(4, 0, math.nan),
        cell(4, 0, 100.5),
        cell(4, 0, -1.0),
        cell(4, 0, None),
        cell(0, 4, 50.0),
        lambda record: record["accuracy"].pop(),
        lambda record: record["accuracy"][4].pop(),
        lambda record: record["times"].pop(),
        lambda record: record["times"][0].update(train=math.inf),
        lambda record: record["stream"]["test_counts"].__setitem__(0, 0),
        lambda record: record["stream"]["task_of_class"].__setitem__(0, 5),
        lambda record: record["stream"].update(seed=1996),
        lambda record: record["stream"].update(dataset="set-1"),
        lambda record: record["method"].update(name="method-1"),
    ],
)
def test_what_contradicts_itself_or_its_folder_is_refused(
    plan: Plan, edit: Callable[[dict[str, Any]], object], sealed: bool
) -> None:
    path = path_of(plan)
    read_record(path)
    change(path, edit, sealed=sealed)
    with pytest.raises(UserError) as refused:
        read_record(path)
    assert str(path) in str(refused.value) and "run again" in str(refused.value)


def test_records_that_changed_places_are_refused(plan: Plan, tmp_path: Path) -> None:
    one, other = path_of(plan, "method-0"), path_of(plan, "method-1")
    shutil.move(one, tmp_path / "held")
    shutil.move(other, one)
    shutil.move(tmp_path / "held", other)
    for path in (one, other):
        with pytest.raises(UserError, match=r"is the record of .* in the folder of"):
            read_record(path)


def test_any_number_that_was_changed_is_found(plan: Plan) -> None:
    """Also one that contradicts nothing, as the seconds of training."""
    path = path_of(plan)
    value = json.loads(path.read_text())
    value["times"][0]["train"] += 1
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match="was changed after it was written"):
        read_record(path)


def test_an_older_record_has_no_digest_and_is_read(plan: Plan) -> None:
    path = path_of(plan)
    before = read_record(path)
    change(path, lambda record: record.pop("digests"), sealed=False)
    assert read_record(path) == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"[]", b"null", b"3"])
def test_what_is_no_record_ends_in_a_sentence(plan: Plan, damage: bytes) -> None:
    path = path_of(plan)
    path.write_bytes(damage)
    with pytest.raises(UserError, match=str(path)):
        read_record(path)


def test_a_folder_in_its_place_ends_in_a_sentence(plan: Plan) -> None:
    path = path_of(plan)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="is a folder, not a file"):
        read_record(path)


def test_a_file_is_believed_only_with_the_digest_of_the_record(plan: Plan) -> None:
    path = path_of(plan)
    selection = path.with_name("selection.parquet")
    record = read_record(path)
    assert checked_file(selection) == selection, "a record of before has no digests"
    record.digests = {selection.name: "0" * 64}
    write_record(path, record)
    with pytest.raises(UserError, match="is not the file that its run wrote"):
        checked_file(selection)
    selection.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        checked_file(selection)
    selection.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        checked_file(selection)


def test_a_file_of_an_imported_run_is_asked_for_where_the_run_was_made(plan: Plan) -> None:
    path = path_of(plan)
    record = read_record(path)
    own, large = path.with_name("selection.parquet"), path.with_name(CHECKPOINT)
    own.unlink()
    large.unlink(missing_ok=True)
    for file in (own, large):
        with pytest.raises(UserError, match="remove the run's folder and run it again"):
            checked_file(file, record)
    write_origin(path.parent, "lab-b", "0" * 64)
    elsewhere = "the run was made elsewhere: remove its folder and import"
    with pytest.raises(UserError, match=rf"{elsewhere} its archive"):
        checked_file(own, record)
    with pytest.raises(UserError, match=rf"{elsewhere} an archive made with .* --checkpoints"):
        checked_file(large, record)


def test_a_file_that_the_system_fails_to_read_costs_no_run(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = path_of(plan)
    monkeypatch.setattr(module, "sha256_file", fails)
    with pytest.raises(UserError, match="could not be read: Permission denied; check") as said:
        checked_file(path.with_name("selection.parquet"), read_record(path))
    assert "remove" not in str(said.value)
