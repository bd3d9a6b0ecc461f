"""Several seeds in one process: each run as it is alone, none lost when another fails."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from starprompt.config.experiment import Config, Run
from starprompt.errors import TerminatedError
from starprompt.grid.finished_runs import BACKUP, back_up
from starprompt.record.run_files import RUN_FILES
from starprompt.training import seeds as batch
from tests.helpers.calls import environment, start_workflow
from tests.helpers.continual_toy import outcome_of
from tests.helpers.paths import REPOSITORY

CONFIG = {
    "name": "batch",
    "title": "Seeds together",
    "datasets": ["digits"],
    "methods": ["ncm", "starprompt-first-stage"],
    "seeds": [1993, 1996, 1997],
    "seeds_per_job": 3,
}


def starprompt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "starprompt.cli", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(REPOSITORY),
        capture_output=True,
        text=True,
        check=False,
    )


def run(folder: Path, method: str, *seeds: int) -> subprocess.CompletedProcess[str]:
    several = [word for seed in seeds for word in ("--seed", str(seed))]
    where = ("--config", "batch.yaml", "--dataset", "digits", "--keep-backup")
    return starprompt(folder, "run", *where, "--method", method, *several)


def run_folder(folder: Path, method: str, seed: int) -> Path:
    return folder / "results/runs/batch/digits" / method / f"seed{seed}"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "config").symlink_to(REPOSITORY / "config")
    (folder / "batch.yaml").write_text(yaml.safe_dump(CONFIG))
    for step in (["data", "prepare", "digits"], ["embed", "--dataset", "digits"]):
        options = ["--config", "batch.yaml"] if step[0] == "embed" else []
        done = starprompt(folder, *step, *options)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_run_among_others_equals_one_alone(prepared: Path, tmp_path: Path) -> None:
    """Global generators, caches and settings of the run before must not reach it."""
    together, alone = (shutil.copytree(prepared, tmp_path / n, symlinks=True) for n in "ab")
    done = run(together, "starprompt-first-stage", 1993, 1996)
    assert done.returncode == 0, done.stderr
    assert "seed 1993" in done.stdout and "seed 1996" in done.stdout
    done = run(alone, "starprompt-first-stage", 1996)
    assert done.returncode == 0, done.stderr
    first, second, single = (
        outcome_of(run_folder(folder, "starprompt-first-stage", seed))
        for folder, seed in ((together, 1993), (together, 1996), (alone, 1996))
    )
    assert second == single
    assert first["checkpoint.safetensors"] != second["checkpoint.safetensors"]


def test_a_seed_that_fails_costs_no_other_its_run(prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared, tmp_path / "a", symlinks=True)
    in_the_way = run_folder(folder, "ncm", 1996)
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no folder")
    done = run(folder, "ncm", 1993, 1996, 1997)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "1 of 3 seeds failed. Seed 1996: " in done.stderr
    others = [run_folder(folder, "ncm", seed) for seed in (1993, 1997)]
    before = [(other / "record.json").read_bytes() for other in others]
    for other in others:  # as Snakemake does with the output of a failed job
        for name in RUN_FILES:
            (other / name).unlink()
    in_the_way.unlink()
    done = run(folder, "ncm", 1993, 1996, 1997)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("already finished") == 2
    assert [(other / "record.json").read_bytes() for other in others] == before


def test_asked_to_end_no_further_seed_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def ended(config: Config, cell: Run, track: str | None) -> None:
        begun.append(cell.seed)
        raise TerminatedError("ended by SIGTERM")

    monkeypatch.setattr(batch, "run", ended)
    monkeypatch.chdir(tmp_path)
    config = Config.model_validate(CONFIG)
    with pytest.raises(TerminatedError):
        list(batch.run_all(config, [Run("digits", "ncm", seed) for seed in config.seeds]))
    assert begun == [1993]


def test_memory_is_measured_anew_for_every_run() -> None:
    """Otherwise a small run after a large one would be said to need as much."""
    program = (
        "import torch; from starprompt.machine import devices as d; cpu = torch.device('cpu');"
        "x = torch.ones(100_000_000); a = d.peak_memory_bytes(cpu); del x; d.release_memory();"
        "d.reset_peak_memory(cpu); print(a - d.peak_memory_bytes(cpu))"
    )
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    if sys.platform == "linux":
        assert int(done.stdout) > 300_000_000


def workflow(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return start_workflow(folder, REPOSITORY, "runs", "--configfile", "config.yaml", *arguments)


def test_a_run_that_ends_after_its_snakemake_was_killed_is_not_trained_again(
    prepared: Path, tmp_path: Path
) -> None:
    """Snakemake removes its files, as those of every job that it never saw end."""
    folder = shutil.copytree(prepared, tmp_path / "a", symlinks=True)
    for name in ("workflow", "profiles", "Snakefile"):
        (folder / name).symlink_to(REPOSITORY / name)
    changes = {"methods": ["ncm"], "seeds": [1993], "seeds_per_job": 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    of_run = run_folder(folder, "ncm", 1993)
    process = workflow(folder)
    wait_for(lambda: (of_run / "work").exists())
    process.kill()  # it alone; the run goes on
    process.wait()
    wait_for((of_run / BACKUP / "record.json").is_file)
    record = (of_run / "record.json").read_bytes()

    assert workflow(folder).wait(timeout=120) == 0, (folder / "workflow.log").read_text()
    log = folder / "results/logs/batch/train/digits/ncm/seed1993.log"
    assert "already finished" in log.read_text(), "Snakemake did not do it again"
    assert (of_run / "record.json").read_bytes() == record
    assert not (of_run / BACKUP).exists()

    back_up(of_run)  # as a killed Snakemake leaves it when the next finds nothing to do
    forced = workflow(folder, "--forcerun", "train")
    assert forced.wait(timeout=120) == 0, (folder / "workflow.log").read_text()
    assert (of_run / "record.json").read_bytes() != record, "it was not trained when asked to"


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
