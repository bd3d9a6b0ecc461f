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


def test_runs_without_a_record_are_left_out_and_the_full_method_cannot_be(tmp_path: Path) -> None:
    plan = fake_ablations.fake_runs(tmp_path, seeds=2)
    arguments = (METHODS[:-1], plan.seeds, "starprompt", "clip-zero-shot", Thresholds())
    gone = [
        ("starprompt", 1993), ("starprompt-prefix", 1993), ("starprompt-prefix", 1996),
        ("starprompt-first-stage", 1996), ("clip-zero-shot", 1993),
    ]  # fmt: skip
    for method, seed in gone:
        (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    tables = report.analyse(tmp_path / "set-0", *arguments)
    there = {(row.method, row.seed) for row in tables["runs"].itertuples()}
    wanted = {(m, s) for m in METHODS[:-1] for s in plan.seeds}
    assert there == wanted - set(gone)
    # A variant's difference is over the seeds that both have.
    pairs = tables["ablation"].set_index("method")["seeds"]
    assert pairs["starprompt-gaussian"] == 1 and "starprompt-prefix" not in pairs
    assert tables["clip-space"]["seed"].unique().tolist() == [1993]
    assert tables["clip-space"]["zero_shot_accuracy"].isna().all()
    (plan.run_folder("set-0", "starprompt", 1996) / "record.json").unlink()
    with pytest.raises(UserError, match=r"No run of starprompt under .* has finished"):
        report.analyse(tmp_path / "set-0", *arguments)
