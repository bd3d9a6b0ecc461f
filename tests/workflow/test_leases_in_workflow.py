"""The real workflow on made-up devices: every run has one of its own, and no more share it."""

import re
import subprocess
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from starprompt.record.record import RunRecord, read_record
from tests.helpers.calls import environment
from tests.helpers.paths import REPOSITORY

CONFIG = {
    "name": "leased",
    "title": "Runs of a moment",
    "datasets": ["digits"],
    "methods": ["ncm"],
    "seeds": [1, 2, 3, 4],
    "gpu": 1,
}
DEVICES = 2


def snakemake(folder: Path, *, allowed: int = DEVICES, **changes: object) -> str:
    """The grid's runs with two made-up devices, if so many; what Snakemake said."""
    (folder / "leased.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    command = [sys.executable, "-m", "snakemake", "runs", "--cores", "6"]
    limits = ["--resources", f"gpu={allowed}", "--snakefile", str(REPOSITORY / "Snakefile")]
    environ = environment(REPOSITORY) | {
        "STARPROMPT_FAKE_DEVICES": str(DEVICES),
        "STARPROMPT_LEASES": str(folder / "leases"),
    }
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [*command, *limits, "--configfile", "leased.yaml"],
        cwd=folder,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def provided(said: str) -> int:
    """How many jobs with a device Snakemake lets run at once."""
    (line,) = set(re.findall(r"Provided resources: gpu=(.*)", said))
    return int(re.findall(r"\d+", line)[-1])


def records(folder: Path) -> list[RunRecord]:
    return [read_record(path) for path in folder.glob("results/runs/leased/**/record.json")]


def most_at_once(runs: list[RunRecord]) -> dict[str, int]:
    """By device: the most runs that computed on it at the same time, as their records say."""
    changes: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for run in runs:
        lease = run.device["lease"]
        began, ended = (datetime.fromisoformat(lease[key]) for key in ("began", "ended"))
        assert began < ended
        for device in lease["devices"]:
            changes[device] += [(began, 1), (ended, -1)]
    most = {}
    for device, of_device in changes.items():
        running = peak = 0
        for _, change in sorted(of_device):
            running += change
            peak = max(peak, running)
        most[device] = peak
    return most


def began(run: RunRecord) -> str:
    return run.device["lease"]["began"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leased")
    (folder / "config").symlink_to(REPOSITORY / "config")
    return folder


def test_every_run_has_a_device_of_its_own(folder: Path) -> None:
    snakemake(folder)
    runs = records(folder)
    assert len(runs) == 4
    assert most_at_once(runs) == {"fake0": 1, "fake1": 1}


def test_shares_let_more_runs_go_at_once(folder: Path) -> None:
    """Two devices, two runs on each: `--resources gpu=2` counts devices, not runs."""
    said = snakemake(folder, seeds=[5, 6, 7, 8], runs_per_gpu=2)
    assert provided(said) == 6, "four runs, and one that waits for each device"
    runs = [run for run in records(folder) if run.stream.seed > 4]
    assert len(runs) == 4
    most = most_at_once(runs)
    assert set(most) == {"fake0", "fake1"} and max(most.values()) == 2


def test_the_next_job_waits_for_its_device_with_everything_loaded(folder: Path) -> None:
    """One a device; but none where it would take a device that the call may not use."""
    said = snakemake(folder, seeds=[21, 22, 23, 24])
    assert provided(said) == 4
    logs = [path.read_text() for path in folder.glob("results/logs/leased/train/**/seed2?.log")]
    assert sum("waiting" in log for log in logs) >= 1, logs
    assert provided(snakemake(folder, seeds=[31, 32], allowed=1)) == 1
    after = sorted((r for r in records(folder) if r.stream.seed > 30), key=began)
    assert began(after[1]) > after[0].device["lease"]["ended"]


def test_a_run_that_asks_for_no_gpu_leases_none(folder: Path) -> None:
    snakemake(folder, seeds=[11], gpu=0, threads=2)
    (run,) = [run for run in records(folder) if run.stream.seed == 11]
    assert run.device["type"] == "cpu" and "lease" not in run.device
    assert run.device["threads"] == 2
