"""`starprompt status`: each state of a run, from what stands in its folder and its logs."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from starprompt.config.experiment import Run, load_config
from starprompt.errors import UserError
from starprompt.grid.status import RunStatus, experiment_status, status_text
from starprompt.machine import run_lock
from starprompt.record.record import write_record
from starprompt.record.run_files import RUN_FILES
from starprompt.reporting.plan import make_plan
from tests.helpers.fake_results import fake_record
from tests.helpers.paths import REPOSITORY

CONFIG = {
    "name": "small",
    "title": "A small grid",
    "datasets": ["digits"],
    "methods": ["starprompt", "joint"],
    "seeds": [1993, 1996],
}
HOLDER = """
import sys, time
from pathlib import Path
from filelock import FileLock
from starprompt.machine import leases, run_lock
leases.lease(1)
folder = Path(sys.argv[1])
with FileLock(folder / run_lock.LOCK):
    run_lock.write_note(folder)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (tmp_path / "config/small.yaml").write_text(yaml.safe_dump(CONFIG))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder(method: str = "joint", seed: int = 1993) -> Path:
    made = Path(f"results/runs/small/digits/{method}/seed{seed}")
    made.mkdir(parents=True, exist_ok=True)
    return made


def log(text: str, method: str = "joint", seed: int = 1993) -> Path:
    path = Path(f"results/logs/small/train/digits/{method}/seed{seed}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def begun(run: Path, tasks: int, attempts: int) -> None:
    for task in range(tasks):
        (run / f"work/task-{task:03d}").mkdir(parents=True)
        (run / f"work/task-{task:03d}/outcome.json").write_text("{}")
    (run / "work").mkdir(exist_ok=True)
    (run / "work/run.json").write_text(json.dumps({"attempts": attempts}))


def of(method: str = "joint", seed: int = 1993) -> RunStatus:
    statuses = experiment_status(load_config(Path("config/small.yaml")))
    (found,) = [s for s in statuses if s.run == Run("digits", method, seed)]
    return found


def test_all_runs_are_told_of_and_their_keys_runs() -> None:
    text = status_text(load_config(Path("config/small.yaml")))
    assert text.splitlines()[0] == "small: 6 runs: 6 waiting"
    assert text.count("starprompt-first-stage") == 2


def test_a_finished_run_tells_its_accuracy() -> None:
    for name in RUN_FILES:
        (folder() / name).write_text("")
    plan = make_plan(load_config(Path("config/small.yaml")))
    record = fake_record(plan, "digits", "joint", 1993, [[97.125] * 5])
    write_record(folder() / "record.json", record)
    assert of().state == "finished"
    assert "finished  97.12%" in status_text(load_config(Path("config/small.yaml")))
    (folder() / "predictions.parquet").unlink()
    assert of().state == "waiting"


def test_a_damaged_record_is_no_finished_run() -> None:
    for name in RUN_FILES:
        (folder() / name).write_text("")
    plan = make_plan(load_config(Path("config/small.yaml")))
    record = fake_record(plan, "digits", "joint", 1993, [[97.125] * 5])
    write_record(folder() / "record.json", record)
    text = (folder() / "record.json").read_text()
    (folder() / "record.json").write_text(text.replace("97.125", "99.125"))
    assert of().state == "failed" and of().accuracy is None
    assert "record.json was changed after it was written; remove it and run again." in of().about


def test_a_folder_in_place_of_a_record_is_named() -> None:
    (folder() / "record.json").mkdir()
    assert of().state == "failed"
    assert "record.json is a folder, not a file" in of().about


def test_a_running_one_tells_who_and_where() -> None:
    begun(folder("starprompt"), tasks=2, attempts=3)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder("starprompt")],
        env=os.environ
        | {"SLURM_JOB_ID": "4711", "CUDA_VISIBLE_DEVICES": "2"}
        | {"STARPROMPT_FAKE_DEVICES": "4", "STARPROMPT_LEASES": "leases"},
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        status = of("starprompt")
        assert (status.state, status.tasks_done, status.tasks) == ("running", 2, 5)
        text = status_text(load_config(Path("config/small.yaml")), "running")
        assert "2 of 5 tasks, attempt 3" in text
        assert f"SLURM job 4711, process {holder.pid} on" in text
        assert "device fake2" in text
    finally:
        holder.kill()
        holder.wait()
    assert (folder("starprompt") / run_lock.NOTE).exists(), "it was killed before it could tidy up"
    assert of("starprompt").state == "started"


def test_a_killed_one_is_started_and_tells_what_it_said_last() -> None:
    begun(folder(), tasks=0, attempts=1)
    log("12:00:01 joint on digits, seed 1993, task 1 of 1: epoch 3\n")
    assert (of().state, of().tasks) == ("started", 1)
    assert "epoch 3" in of().about


@pytest.mark.parametrize("said", ["ended by SIGTERM", "ended by SIGINT (Ctrl-C)"])
def test_one_that_was_asked_to_end_is_no_failure(said: str) -> None:
    log(f"{said}; run it again.\n")
    assert of().state == "waiting"  # its imports were not done
    begun(folder(), tasks=0, attempts=1)
    log(f"joint on digits: {said}; run it again and it goes on at epoch 2.\n")
    assert of().state == "started"


@pytest.mark.parametrize(
    "said",
    [
        "error: There are no keys at results/x; run starprompt-first-stage first.",
        "Traceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: CUDA out of memory.",
    ],
)
def test_a_failed_one_tells_its_last_lines_and_its_log(said: str) -> None:
    path = log(f"loading 10%\rloading 90%\rloaded\n{said}\n")
    status = of()
    assert status.state == "failed"
    text = status_text(load_config(Path("config/small.yaml")), "failed")
    assert said.splitlines()[-1] in text
    assert "loading" not in text
    assert str(path) in text


def test_slurms_own_log_is_found() -> None:
    begun(folder(), tasks=0, attempts=1)
    log("12:00:01 epoch 3\n")
    path = Path("results/logs/slurm/rule_train/digits_joint_1993/12.log")
    path.parent.mkdir(parents=True)
    path.write_text("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT x DUE TO TIME LIMIT ***\n")
    assert of().state == "failed"
    assert path in of().logs


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'failed'"):
        status_text(load_config(Path("config/small.yaml")), "fail")
    with pytest.raises(UserError, match="No run of small is failed"):
        status_text(load_config(Path("config/small.yaml")), "failed")


def test_a_run_whose_job_trains_another_seed_waits(place: Path) -> None:
    description = {**CONFIG, "seeds_per_job": 2}
    (place / "config/small.yaml").write_text(yaml.safe_dump(description))
    path = log("joint on digits, seed 1993: needs up to 23 MB\n")
    path.rename(path.with_name("seed1993-1996.log"))
    assert of(seed=1996).state == "failed"  # a job that ended without a word
    running = folder(seed=1993)
    with FileLock(running / run_lock.LOCK):
        run_lock.write_note(running)
        assert of(seed=1993).state == "running"
        assert of(seed=1996).state == "waiting"
        assert of(seed=1996).about == "its job trains another seed now"
    (running / "record.json").write_text("{}")
    assert of(seed=1996).about == "its job is between two seeds"
    assert of(seed=1996).state == "waiting"
    an_hour_ago = time.time() - 3600
    os.utime(path.with_name("seed1993-1996.log"), (an_hour_ago, an_hour_ago))
    assert of(seed=1996).state == "failed"
