"""The campaign for GPUs at small size: its stages run, and one that fails is named."""

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu_campaign.py"


def campaign(out: Path, *arguments: str) -> tuple[int, dict[str, dict[str, object]], str]:
    """Exit status, what each stage found, and the last line."""
    command = [sys.executable, str(SCRIPT), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads((out / "gpu_campaign.json").read_text())
    return done.returncode, found, done.stdout.splitlines()[-1]


def test_stages_run_where_there_is_no_gpu(tmp_path: Path) -> None:
    chosen = ("device", "stream", "resumed", "leases")
    status, found, last = campaign(tmp_path, "--only", *chosen)
    assert {name: stage.get("failed") for name, stage in found.items()} == dict.fromkeys(chosen)
    assert status == 0
    assert json.loads(last)["failed"] == []
    assert found["resumed"]["found"] == {"equal bytes": True, "attempts": 2}
    page = (tmp_path / "gpu_campaign.md").read_text()
    assert all(f"| {name} | done |" in page for name in chosen)


def test_what_was_not_reached_is_named(tmp_path: Path) -> None:
    status, found, last = campaign(tmp_path, "--budget", "0", "--only", "device", "leases")
    assert status == 1
    assert json.loads(last)["failed"] == ["device", "leases"]
    assert all("0 s are spent" in str(stage["failed"]) for stage in found.values())
