"""Lists of records: what is refused has its row, what is unknown says so."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.errors import UserError
from starprompt.record.listing import listed, run_folders
from starprompt.record.run_files import RECORD
from tests.helpers.record_runs import edited


def test_lists_show_a_refused_record_and_the_rest(runs: tuple[Path, Path]) -> None:
    edited(runs[1], device={"name": "=cmd()\x1b[31m"}, method_source="a" * 64)
    (runs[0] / RECORD).write_text("[")
    root = str(runs[0].parents[3])
    done = CliRunner().invoke(app, ["records", "list", root])
    assert done.exit_code == 1
    assert "refused: " in done.output
    assert "seed1/record.json is not a JSON record" in done.output
    assert "\x1b" not in done.output
    rows = json.loads(CliRunner().invoke(app, ["records", "list", root, "--json"]).output)
    assert [bool(row["trouble"]) for row in rows] == [True, False]
    assert rows[1]["origin"] == "here"
    assert rows[1]["source"] == "a" * 12
    text = CliRunner().invoke(app, ["records", "list", root, "--csv"]).output
    table = list(csv.DictReader(io.StringIO(text)))
    assert table[1]["device"].startswith("'=cmd")
    assert float(table[1]["final"]) == pytest.approx(rows[1]["final"])


def test_a_record_without_a_source_is_listed_as_unknown(runs: tuple[Path, Path]) -> None:
    assert {row.source for row in listed(runs)} == {"unknown"}


def test_hidden_folders_are_no_runs(runs: tuple[Path, Path]) -> None:
    shutil.copytree(runs[0], runs[0] / ".finished")
    assert run_folders(runs[0]) == [runs[0]]


def test_an_empty_place_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["records", "list", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "no record under" in str(done.exception)
