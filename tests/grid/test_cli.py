"""`starprompt status` and `submit`: what they print."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.cli import app
from tests.helpers.begun_runs import begin_grid, call


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begin_grid(tmp_path)


def test_json_has_every_run() -> None:
    value = json.loads(call("--json"))
    assert value["experiment"] == "small"
    assert value["counts"] == {
        "finished": 1,
        "running": 0,
        "waiting": 0,
        "started": 1,
        "failed": 1,
    }
    by_seed = {run["seed"]: run for run in value["runs"]}
    assert by_seed[1]["part"] == 1 and by_seed[1]["accuracy"] > 0
    assert (by_seed[2]["epoch"], by_seed[2]["epochs"], by_seed[2]["tasks_done"]) == (3, 4, 1)
    assert by_seed[2]["part"] == pytest.approx((1 + 30 / 40) / 5)
    assert by_seed[2]["accuracy_so_far"] == 70
    assert by_seed[3]["last_lines"] == ["error: <script>alert(1)</script> & more"]


@pytest.mark.parametrize("go", [False, True])
def test_submit_prints_the_call_and_makes_it_on_request(
    go: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(
        "starprompt.grid.snakemake.run_workflow", lambda arguments: calls.append(arguments) or 7
    )
    words = ["submit", "--config", "config/small.yaml", "--local", *(["--go"] if go else [])]
    done = CliRunner().invoke(app, words)
    assert "config/small.yaml" in done.stdout
    assert done.exit_code == (7 if go else 0)
    assert len(calls) == go
    if go:
        assert "config/small.yaml" in calls[0]
