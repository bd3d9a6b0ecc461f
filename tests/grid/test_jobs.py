"""What a finished run depends on: stable while the code is rearranged."""

import hashlib
import json

import pytest

from starprompt.config.experiment import load_config
from starprompt.grid.jobs import Grid
from tests.helpers.paths import GOLDEN, REPOSITORY

BEFORE: dict[str, str] = json.loads((GOLDEN / "run-depends.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid(load_config(REPOSITORY / "config" / "demo.yaml"))


@pytest.mark.parametrize("method", BEFORE)
def test_a_run_finished_before_the_code_moved_still_counts(grid: Grid, method: str) -> None:
    text = grid.run_depends("digits", method)
    assert hashlib.sha256(text.encode()).hexdigest() == BEFORE[method]
