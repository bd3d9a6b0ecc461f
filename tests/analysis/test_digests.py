"""Digests find the first difference between two machines' predictions, and name it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from starprompt.analysis.digests import (
    ROUNDING,
    Difference,
    Digests,
    differences,
    digest_runs,
    other_versions,
    read_digests,
    unknown_versions,
    write_digests,
)
from starprompt.errors import UserError
from starprompt.files import sha256_file
from starprompt.record.metrics import measure
from starprompt.record.record import PREDICTION_COLUMNS, read_record, write_record
from starprompt.record.run_files import PREDICTIONS, RECORD
from tests.helpers.fake_results import fake_plan, write_fake_run

EXPERIMENT = "fake"
NAME = "digits/method-0/seed1993"


def predictions(tasks: int = 3) -> dict[str, np.ndarray]:
    """Four images of each task after it and after every later one; two classes a task."""
    image = np.concatenate([np.arange(4 * (after + 1)) for after in range(tasks)])
    label = image // 2
    return {
        "image_id": image,
        "task": image // 4,
        "label": label,
        "prediction": label.copy(),
        "score": np.linspace(0, 1, len(image)),
        "after_task": np.repeat(np.arange(tasks), [4 * (after + 1) for after in range(tasks)]),
    }


def store(folder: Path, table: pa.Table, **options: object) -> None:
    """The run's predictions, and its record as if the run had left them."""
    pq.write_table(table, folder / PREDICTIONS, **options)
    record = read_record(folder / RECORD)
    record.digests[PREDICTIONS] = sha256_file(folder / PREDICTIONS)
    write_record(folder / RECORD, record)


def table_of(columns: dict[str, np.ndarray]) -> pa.Table:
    return pa.table(
        {
            name: pa.array(columns[name], pa.type_for_alias(kind))
            for name, kind in PREDICTION_COLUMNS.items()
        }
    )


def write(folder: Path, columns: dict[str, np.ndarray], **options: object) -> None:
    """As a run leaves them: the record's accuracy is that of the predictions."""
    record = read_record(folder / RECORD)
    tasks = int(columns["after_task"].max()) + 1
    right = columns["prediction"] == columns["label"]
    record.accuracy = [
        [
            100 * float(right[(columns["after_task"] == t) & (columns["task"] == i)].mean())
            if i <= t
            else None
            for i in range(tasks)
        ]
        for t in range(tasks)
    ]
    counts = [4] * tasks
    names = [f"class {label}" for label in range(2 * tasks)]
    record.stream = record.stream.model_copy(
        update={
            "class_names": names,
            "task_of_class": [label // 2 for label in range(2 * tasks)],
            "test_counts": counts,
            "train_counts": counts,
        }
    )
    record.metrics = measure(record.accuracy, counts)
    record.times = record.times[:1] * tasks
    write_record(folder / RECORD, record)
    store(folder, table_of(columns), **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished portable run with predictions."""
    folder = write_fake_run(fake_plan(tmp_path), "digits", "method-0", 1993, 0)
    record = read_record(folder / RECORD)
    record.extra["numerics"] = "portable"
    record.device["numerics"] = {"libc": "glibc 2.36"}
    write_record(folder / RECORD, record)
    write(folder, predictions())
    return folder


def digests(folder: Path) -> Digests:
    return digest_runs(EXPERIMENT, {NAME: folder})


def test_equal_runs_are_equal_and_survive_the_file(folder: Path, tmp_path: Path) -> None:
    found = digests(folder)
    write_digests(tmp_path / "digests" / "demo.json", found)
    assert read_digests(tmp_path / "digests" / "demo.json") == found
    assert differences(found, digests(folder)) == []
    assert found.versions["libc"] == "glibc 2.36"


@pytest.mark.parametrize(
    ("column", "row", "said"),
    [
        ("prediction", 4, r"predicted classes differ after task 2 and in 1 of 3 evaluations"),
        ("image_id", 23, r"predicted classes differ after task 3"),
        ("score", 0, r"the same predicted classes, but other scores after task 1 and in 1 of 3"),
    ],
)
def test_the_first_difference_is_named(folder: Path, column: str, row: int, said: str) -> None:
    before, changed = digests(folder), predictions()
    moved = np.nextafter(np.float32(changed[column][row]), np.float32(2))
    changed[column][row] = moved if column == "score" else changed[column][row] + 1
    write(folder, changed)
    (difference,) = differences(before, digests(folder))
    assert difference.text.startswith(f"{NAME}: ")
    assert said in difference.text
    assert difference.by_rounding


def test_other_bytes_of_the_same_predictions_are_named(folder: Path) -> None:
    before = digests(folder)
    write(folder, predictions(), compression="zstd")
    assert differences(before, digests(folder)) == [
        Difference(f"{NAME}: the same predictions, but not the same bytes in predictions.parquet")
    ]
    before.runs[NAME].writer = "another library"
    assert differences(before, digests(folder)) == []


def test_fewer_evaluations_and_missing_runs_are_named_and_not_rounding(folder: Path) -> None:
    before = digests(folder)
    write(folder, predictions(tasks=2))
    assert differences(before, digests(folder)) == [Difference(f"{NAME}: 2 evaluations, not 3")]
    none = before.model_copy(update={"runs": {}})
    missing, added = differences(before, none)[0], differences(none, before)[0]
    assert "not in the experiment" in missing.text and not missing.by_rounding
    assert "no digests of this run" in added.text and not added.by_rounding


def test_another_accuracy_of_the_same_predictions_is_named_and_not_rounding(folder: Path) -> None:
    before = digests(folder)
    before.runs[NAME].final_average_accuracy = 12.0
    (difference,) = differences(before, digests(folder))
    assert "final average accuracy 100.00, not 12.00" in difference.text
    assert not difference.by_rounding


def test_other_libraries_are_named(folder: Path) -> None:
    record = read_record(folder / RECORD)
    record.versions |= {"torch": "2.0", "scipy": "1.17", "numpy": "not installed"}
    write_record(folder / RECORD, record)
    here = digests(folder)
    assert here.versions.keys() == set(ROUNDING)
    there = here.model_copy(update={"versions": here.versions | {"torch": "1.0"}})
    assert other_versions(there, here) == "torch 2.0 (not 1.0)"
    assert other_versions(here, here) == ""
    there.versions["scipy"] = "1.16"
    assert other_versions(there, here) == "torch 2.0 (not 1.0), scipy 1.17 (not 1.16)"
    there.versions |= {"scipy": "unknown", "numpy": "2.4"}
    assert other_versions(there, here) == "torch 2.0 (not 1.0)", "an unknown version is not another"
    assert {"scipy", "numpy", "timm"} <= set(unknown_versions(there, here))


def test_a_file_of_before_does_not_know_what_it_does_not_name(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    write_digests(path, digests(folder))
    value = json.loads(path.read_text())
    for name in ("scipy", "scikit-learn"):
        del value["versions"][name]
    path.write_text(json.dumps(value))
    assert read_digests(path).versions["scipy"] == "unknown"
    del value["versions"]["torch"], value["versions"]["libc"]
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"demo\.json is not valid: .*no version of torch, libc"):
        read_digests(path)


@pytest.mark.parametrize(
    "change",
    [
        {"versions": {}},
        {"runs": {}},
        {"experiment": None},
        {"runs": {NAME: {"tasks": []}}},
        {"runs": {NAME: {"file": "f"}}},
        {"runs": {NAME: {"final_average_accuracy": float("nan")}}},
        {"runs": {NAME: {"tasks": [{"predictions": "a", "scores": "b"}]}}},
    ],
)
def test_a_file_that_compares_nothing_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "demo.json"
    value = digests(folder).model_dump()
    if change.get("runs"):
        value["runs"][NAME] |= change["runs"][NAME]  # type: ignore[index]
    else:
        value |= change
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"demo\.json is not valid: "):
        read_digests(path)


def test_a_native_run_has_no_digests(folder: Path) -> None:
    record = read_record(folder / "record.json")
    del record.extra["numerics"]
    write_record(folder / "record.json", record)
    with pytest.raises(UserError, match="was not computed with numerics: portable"):
        digests(folder)


def test_runs_of_two_environments_are_refused(folder: Path, tmp_path: Path) -> None:
    record = read_record(folder / "record.json")
    record.versions["torch"] = "1.0"
    other = tmp_path / "other"
    write_record(other / "record.json", record)
    with pytest.raises(UserError, match=r"torch 1\.0 \(not .*one environment"):
        digest_runs(EXPERIMENT, {NAME: folder, "other": other})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"experiment": 1}', "\x00"])
def test_a_damaged_file_of_digests_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "demo.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"demo\.json is not"):
        read_digests(path)


def test_damaged_predictions_are_named(folder: Path) -> None:
    (folder / PREDICTIONS).write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"predictions\.parquet is not the file that its run wrote"):
        digests(folder)
    record = read_record(folder / RECORD)
    record.digests = {}  # as in records of before
    write_record(folder / RECORD, record)
    with pytest.raises(UserError, match=r"predictions\.parquet contradicts its record"):
        digests(folder)


def test_another_runs_predictions_are_refused(folder: Path) -> None:
    """Valid ones of equal shape, which only the record's digest tells from the run's own."""
    scores = predictions()
    scores["score"] = scores["score"] / 2
    pq.write_table(table_of(scores), folder / PREDICTIONS)
    with pytest.raises(UserError, match=r"predictions\.parquet is not the file that its run wrote"):
        digests(folder)


def test_a_run_of_another_experiment_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds a run of the experiment 'fake', not of demo"):
        digest_runs("demo", {NAME: folder})
    other = folder.with_name("seed1996")
    shutil.copytree(folder, other)
    with pytest.raises(UserError, match=r"is the record of method-0 on digits, seed 1993"):
        digests(other)


Table = pa.Table


def replaced(name: str, make: Callable[[Table], object]) -> Callable[[Table], Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, make(table))


DAMAGES: dict[str, tuple[Callable[[Table], Table], str]] = {
    "nulls": (
        replaced("prediction", lambda table: pa.nulls(len(table), pa.int16())),
        "its column prediction has 24 rows without a value",
    ),
    "one null": (
        replaced("score", lambda table: pa.array([None, *table["score"].to_pylist()[1:]])),
        "its column score has 1 rows without a value",
    ),
    "nothing": (
        replaced("prediction", lambda table: pa.nulls(len(table))),
        "its column prediction is of type null",
    ),
    "texts": (
        replaced("label", lambda table: table["label"].cast(pa.string())),
        "its column label is of type string",
    ),
    "lists": (
        replaced("prediction", lambda table: pa.array([[1]] * len(table))),
        "its column prediction is of type list",
    ),
    "fractions": (
        replaced("image_id", lambda table: table["image_id"].cast(pa.float64())),
        "its column image_id is of type double",
    ),
    "whole scores": (
        replaced("score", lambda table: table["label"]),
        "its column score is of type int16",
    ),
    "a class too high": (
        replaced("prediction", lambda table: pa.array([5] * 23 + [6], pa.int16())),
        "predictions.parquet contradicts its record",
    ),
    "a class below 0": (
        replaced("label", lambda table: pa.array([-1] * len(table), pa.int16())),
        "predictions.parquet contradicts its record",
    ),
    "a task too high": (
        replaced("after_task", lambda table: pa.array([3] * len(table), pa.int16())),
        "after task 0 it has 0 images of task 0",
    ),
    "half its rows": (lambda table: table.slice(0, 12), "after task 2 it has 0 images of task 0"),
    "rows twice": (
        lambda table: pa.concat_tables([table, table]),
        "it has rows of tasks that the record does not have",
    ),
    "no rows": (lambda table: table.slice(0, 0), "after task 0 it has 0 images of task 0"),
    "no column": (lambda table: table.drop_columns(["score"]), "contradicts its record"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_predictions_that_contradict_their_record_are_refused(folder: Path, how: str) -> None:
    """Although the record's digest is theirs, or it has none."""
    damage, said = DAMAGES[how]
    store(folder, damage(pq.read_table(folder / PREDICTIONS)))
    with pytest.raises(UserError) as refused:
        digests(folder)
    assert said in str(refused.value)


def test_digests_that_are_missing_say_how_to_write_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="starprompt digests --write"):
        read_digests(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "no JSON", "\udcff"])
def test_what_is_no_file_of_digests_ends_in_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "demo.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"demo\.json"):
        read_digests(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"demo\.json is a folder"):
        read_digests(path)
