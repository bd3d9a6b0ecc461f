"""Two runs side by side, lists of records, and whether each fits itself."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.errors import UserError
from starprompt.record.comparison import compare, lines
from starprompt.record.metrics import measure
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import PREDICTIONS, RECORD
from starprompt.record.verify import verify_all
from tests.helpers.record_runs import edited


def test_a_run_is_equal_to_its_copy_but_for_times_and_machine(runs: tuple[Path, Path]) -> None:
    copy = Path(shutil.copytree(runs[0], runs[0].parents[3] / "copy"))
    edited(copy, finished="2025-01-01T00:00:00+00:00", versions={"torch": "2.9"})
    found = compare(runs[0], copy)
    assert found.same
    assert found.parts["versions"] == {"torch": ("2.8", "2.9"), "python": ("3.12", None)}
    assert found.predictions == (0, 120)


def test_the_first_prediction_that_differs_is_shown(runs: tuple[Path, Path]) -> None:
    found = compare(*runs)
    assert not found.same
    assert not found.parts["configuration"]
    assert found.parts["stream"]["seed"] == (1, 2)
    assert "metrics.final_average_accuracy" in found.parts["results"]
    assert found.first is not None
    assert found.first["prediction"] != found.first["prediction_other"]
    import pandas as pd

    one, other = (pd.read_parquet(folder / PREDICTIONS) for folder in runs)
    differ = one[one["prediction"].to_numpy() != other["prediction"].to_numpy()]
    assert found.predictions == (len(differ), 120)
    assert (found.first["after_task"], found.first["image_id"]) == tuple(
        differ.iloc[0][["after_task", "image_id"]]
    )
    assert any("first: after task" in line for line in lines(found))


def test_a_damaged_run_is_not_compared(runs: tuple[Path, Path]) -> None:
    (runs[1] / PREDICTIONS).write_bytes(b"nothing")
    with pytest.raises(UserError, match=PREDICTIONS):
        compare(*runs)


def test_verify_names_what_does_not_fit(runs: tuple[Path, Path]) -> None:
    assert verify_all(runs) == {}
    record = read_record(runs[1] / RECORD)
    record.accuracy[-1] = [50.0, 50.0, 50.0]
    record.metrics = measure(record.accuracy, record.stream.test_counts)
    write_record(runs[1] / RECORD, record)
    bad = verify_all(runs)
    assert list(bad) == [runs[1]]
    assert "not 50.0000%" in bad[runs[1]]


def test_verify_as_a_command(runs: tuple[Path, Path]) -> None:
    root = str(runs[0].parents[3])
    done = CliRunner().invoke(app, ["records", "verify", root])
    assert (done.exit_code, done.output) == (0, "2 of 2 runs are consistent.\n")
    (runs[0] / RECORD).write_text("{}")
    done = CliRunner().invoke(app, ["records", "verify", root])
    assert done.exit_code == 1
    assert "seed1/record.json has record schema None" in done.output
    assert "1 of 2 runs are consistent." in done.output
