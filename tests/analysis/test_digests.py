"""Digests find the first difference between two machines' predictions, and name it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from starprompt.analysis.digests import (
    Digests,
    differences,
    digest_runs,
    other_versions,
    read_digests,
    write_digests,
)
from starprompt.errors import UserError
from starprompt.record.record import PREDICTION_COLUMNS, read_record, write_record
from tests.helpers.fake_results import fake_plan, write_fake_run

NAME = "digits/method-0/seed1993"


def predictions(tasks: int = 3, images: int = 4) -> dict[str, np.ndarray]:
    """Every image again after every task."""
    image = np.tile(np.arange(images), tasks)
    return {
        "image_id": image,
        "task": image % 2,
        "label": image % 2,
        "prediction": image % 2,
        "score": np.linspace(0, 1, tasks * images),
        "after_task": np.repeat(np.arange(tasks), images),
    }


def write(folder: Path, columns: dict[str, np.ndarray], **options: object) -> None:
    arrays = {
        name: pa.array(columns[name], pa.type_for_alias(kind))
        for name, kind in PREDICTION_COLUMNS.items()
    }
    pq.write_table(pa.table(arrays), folder / "predictions.parquet", **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished portable run with predictions."""
    folder = write_fake_run(fake_plan(tmp_path), "digits", "method-0", 1993, 0)
    record = read_record(folder / "record.json")
    record.extra["numerics"] = "portable"
    record.device["numerics"] = {"libc": "glibc 2.36"}
    write_record(folder / "record.json", record)
    write(folder, predictions())
    return folder


def digests(folder: Path) -> Digests:
    return digest_runs("demo", {NAME: folder})


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
        ("label", 11, r"predicted classes differ after task 3"),
        ("score", 0, r"the same predicted classes, but other scores after task 1 and in 1 of 3"),
    ],
)
def test_the_first_difference_is_named(folder: Path, column: str, row: int, said: str) -> None:
    before, changed = digests(folder), predictions()
    moved = np.nextafter(np.float32(changed[column][row]), np.float32(2))
    changed[column][row] = moved if column == "score" else 1 - changed[column][row]
    write(folder, changed)
    (text,) = differences(before, digests(folder))
    assert text.startswith(f"{NAME}: ")
    assert said in text


def test_other_bytes_of_the_same_predictions_are_named(folder: Path) -> None:
    before = digests(folder)
    write(folder, predictions(), compression="zstd")
    assert differences(before, digests(folder)) == [
        f"{NAME}: the same predictions, but not the same bytes in predictions.parquet"
    ]
    before.runs[NAME].writer = "another library"
    assert differences(before, digests(folder)) == []


def test_fewer_evaluations_and_missing_runs_are_named(folder: Path) -> None:
    before = digests(folder)
    write(folder, predictions(tasks=2))
    assert differences(before, digests(folder)) == [f"{NAME}: 2 evaluations, not 3"]
    none = before.model_copy(update={"runs": {}})
    assert "not in the experiment" in differences(before, none)[0]
    assert "no digests of this run" in differences(none, before)[0]


def test_other_libraries_are_named(folder: Path) -> None:
    here = digests(folder)
    there = here.model_copy(update={"versions": here.versions | {"torch": "1.0"}})
    assert other_versions(there, here) == f"torch {here.versions['torch']} (not 1.0)"
    assert other_versions(here, here) == ""


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
        digest_runs("demo", {NAME: folder, "other": other})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"experiment": 1}', "\x00"])
def test_a_damaged_file_of_digests_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "demo.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"demo\.json is not"):
        read_digests(path)


def test_damaged_predictions_are_named(folder: Path) -> None:
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"predictions\.parquet is not a table of predictions"):
        digests(folder)


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
