"""What a job asks the scheduler for."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.budget.model import expected
from starprompt.budget.networks import UnknownCostError
from starprompt.budget.resources import Resources, resources
from starprompt.cli import app
from starprompt.config.experiment import load_config
from tests.helpers.forecasts import changed

PAPER = load_config(Path("config/paper.yaml"))


def test_an_unknown_backbone_has_no_cost_and_the_scheduler_is_asked_for_the_configurations() -> (
    None
):
    strange = changed(PAPER, backbones={"vit": "vit_pe_core_large_patch14_336", "clip": "tiny"})
    with pytest.raises(UnknownCostError, match="unknown"):
        expected(strange, "cub200", "starprompt")
    assert resources(strange, "cub200", "starprompt") == Resources(32_000, 1_440)
    result = CliRunner().invoke(app, ["cost", "--method", "clip-zero-shot"])
    assert result.exit_code == 0


def test_what_a_job_asks_for_holds_the_forecast_with_a_margin() -> None:
    for method in PAPER.methods:
        cost, asked = expected(PAPER, "cub200", method), resources(PAPER, "cub200", method)
        assert asked.mem_mb * 1e6 >= 1.4 * cost.host_bytes
        assert asked.runtime * 60 >= 1.4 * cost.seconds
        assert asked.mem_mb % 500 == 0 and asked.runtime % 5 == 0
