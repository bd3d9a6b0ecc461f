"""`starprompt cost`: its three forms, and names that it refuses."""

import csv
import io
import json
from pathlib import Path

from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.config.experiment import load_config
from starprompt.errors import UserError

PAPER = load_config(Path("config/paper.yaml"))


def test_the_command_prints_a_table_csv_and_json() -> None:
    def printed(*options: str) -> str:
        result = CliRunner().invoke(app, ["cost", "--config", "config/paper.yaml", *options])
        assert result.exit_code == 0, result.output
        return result.output

    table = printed("--rate", "400", "--dataset", "cub200")
    assert "At 400 TFLOP/s sustained" in table and "starprompt-first-stage" in table
    rows = list(csv.DictReader(io.StringIO(printed("--csv", "--dataset", "cub200"))))
    assert {row["method"] for row in rows} >= set(PAPER.methods)
    value = json.loads(printed("--json", "--dataset", "isic", "--method", "starprompt"))
    assert value["totals"]["runs"] == 7
    assert value["lines"][1]["operations"]["clip/image"] > 0
    assert "training" in printed("--parts", "--dataset", "isic", "--method", "starprompt")


def test_the_command_refuses_a_name_that_is_not_in_the_experiment() -> None:
    result = CliRunner().invoke(app, ["cost", "--dataset", "cub200"])
    assert isinstance(result.exception, UserError)
