"""`starprompt status` and `submit`: what they print."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.config.experiment import Run
from tests.helpers.begun_runs import CONFIG, begin, call
from tests.helpers.paths import REPOSITORY
from tests.helpers.whole_runs import write_whole_grid


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (tmp_path / "config/small.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    write_whole_grid(CONFIG, [Run("digits", "finetune", 1)], tmp_path)
    begin(2, task=1, epoch=3)
    log = Path("results/logs/small/train/digits/finetune/seed3.log")
    log.parent.mkdir(parents=True)
    log.write_text("error: <script>alert(1)</script> & more\n")


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
