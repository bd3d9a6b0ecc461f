"""An analysis of runs that are missing or damaged names them."""

from pathlib import Path

import pytest

from starprompt.analysis import report
from starprompt.config.thresholds import Thresholds
from starprompt.errors import UserError
from tests.helpers import fake_ablations
from tests.helpers.fake_ablations import METHODS


def test_a_missing_or_damaged_run_is_named(tmp_path: Path) -> None:
    plan = fake_ablations.fake_runs(tmp_path, seeds=1)
    folder = plan.run_folder("set-0", "starprompt-prefix", 1993)
    (folder / "diagnostics.safetensors").write_bytes(b"damaged")
    arguments = (METHODS[:-1], plan.seeds, "starprompt", "clip-zero-shot", Thresholds())
    with pytest.raises(UserError, match=r"starprompt-prefix.*diagnostics.safetensors is missing"):
        report.analyse(tmp_path / "set-0", *arguments)
    (folder / "record.json").unlink()
    with pytest.raises(UserError, match=r"There is no record at .*starprompt-prefix"):
        report.analyse(tmp_path / "set-0", *arguments)
