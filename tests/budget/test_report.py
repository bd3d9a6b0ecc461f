"""The forecast of an experiment as a table, CSV and JSON."""

from pathlib import Path

import pytest

from starprompt.budget import report
from starprompt.config.experiment import load_config

DEMO = load_config(Path("config/demo.yaml"))
PAPER = load_config(Path("config/paper.yaml"))


def test_an_experiment_is_the_sum_of_its_runs_with_keys_and_features_once() -> None:
    found = report.forecast(DEMO)
    by_name = {line.cost.method: line for line in found.lines}
    assert by_name["embed"].runs == 1
    assert by_name["starprompt-first-stage"].runs == len(DEMO.seeds)
    assert len(found.lines) == len(DEMO.methods) + 1
    totals = found.totals()
    assert totals["operations"] == pytest.approx(
        sum(line.runs * line.cost.total_operations for line in found.lines)
    )
    joint = report.forecast(PAPER, ["cub200"], ["joint-starprompt"])
    assert [line.cost.method for line in joint.lines] == [
        "embed",
        "joint-starprompt",
        "starprompt-first-stage-joint",
    ]


def test_runs_of_searched_values_are_counted() -> None:
    baselines = load_config(Path("config/demo-baselines.yaml"))
    searched = list(baselines.searched_runs())
    assert searched
    found = report.forecast(baselines)
    assert {
        (line.cost.dataset, line.cost.method): line.runs
        for line in found.lines
        if line.cost.method.endswith("-searched")
    } == dict.fromkeys(((run.dataset, run.method) for run in searched), len(baselines.seeds))
    own = report.forecast(baselines.model_copy(update={"values": "own"}))
    assert found.totals()["runs"] - own.totals()["runs"] == len(searched)
    one = report.forecast(baselines, methods=["l2p"])
    assert "l2p-searched" not in [line.cost.method for line in one.lines]
