"""Killed runs and workflows: `python -m tests.faults.killed_runs` (200 trials, 250 kills).

SIGKILL, SIGTERM or SIGINT strikes a run at a drawn moment, up to three times before it is let
through. Most runs are real commands in a fork of a process that has imported everything; one in
fourteen is a real process, struck within its imports too, and one in 33 a real workflow. What was
struck says in a sentence how to go on, no run is called failed, and in the end the results have
the bytes of undisturbed ones.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from starprompt.machine.termination import end_at_once_from_here_on
from tests.faults._campaign import Trial, WrongError, main
from tests.faults.damaged_runs import base, compare_run, copy
from tests.helpers.calls import environment, start_workflow
from tests.helpers.command_line import call
from tests.helpers.kill_trials import child
from tests.helpers.paths import REPOSITORY
from tests.helpers.small_workplace import EXPERIMENT, run_arguments, run_folder

RUNS = [("starprompt", 1), ("starprompt-first-stage", 2), ("finetune", 1)]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: what the workflow trains: two runs of one method in two jobs
GRID: dict[str, Any] = {"methods": ["finetune"], "ablations": [], "seeds_per_job": 1}
#: longest wait for what was struck, seconds
PATIENCE = 300


def make(seed: int, number: int) -> Trial:
    """The kills of that number."""
    random_ = random.Random(f"{seed} kill {number}")
    run = random_.choice(RUNS)
    struck = random_.choice(SIGNALS)
    moments = [random_.random() for _ in range(random_.choice((1, 1, 1, 2, 2, 3)))]
    if number % 33 == 32:
        return Trial(f"{struck.name} on a workflow", lambda f: _workflow(f, struck, moments[0]))
    if number % 14 == 13:
        return Trial(f"{struck.name} on a process", lambda f: _process(f, run, struck, moments[0]))
    return Trial(f"{struck.name} on a run", lambda f: _fork(f, run, struck, moments))


def _fork(folder: Path, run: tuple[str, int], struck: signal.Signals, moments: list[float]) -> None:
    """Strike the command in a fork, then let it through in another."""
    place = _emptied(folder, run)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored

    def command() -> None:
        end_at_once_from_here_on()
        status, said = call(run_arguments(*run), place)
        (place / "said").write_text(said)
        os._exit(status)

    for moment in moments:
        process = child(command)
        time.sleep(moment * _usual(run))
        os.kill(process, struck)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        said = place / "said"
        _judge_end(code, struck, said.read_text() if said.exists() else None)
        said.unlink(missing_ok=True)
    _go_on(place, run)


def _process(folder: Path, run: tuple[str, int], struck: signal.Signals, moment: float) -> None:
    """Strike a real process; half of the time within its imports."""
    place = _emptied(folder, run)
    process = subprocess.Popen(
        [sys.executable, "-m", "starprompt", *run_arguments(*run)],
        cwd=place,
        env=environment(REPOSITORY) | {"STARPROMPT_DATA": str(place / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # Python itself takes a tenth of a second to begin, in which nothing can be handled.
    time.sleep(0.5 + 6 * moment)
    process.send_signal(struck)
    said, _ = process.communicate(timeout=PATIENCE)
    _judge_end(process.returncode, struck, said)
    _go_on(place, run)


def _workflow(folder: Path, struck: signal.Signals, moment: float) -> None:
    """Strike Snakemake and its jobs (SIGTERM: it alone), and start it again."""
    place = folder / "place"
    copy(base()[0], place)
    for seed in EXPERIMENT["seeds"]:
        shutil.rmtree(run_folder(place, "finetune", seed))
    for name in ("Snakefile", "workflow"):
        (place / name).symlink_to(REPOSITORY / name)
    (place / "profiles").symlink_to("workflow/profiles")
    config = place / "config" / "few.yaml"
    config.unlink()
    config.write_text(yaml.safe_dump(EXPERIMENT | GRID))
    call_of_it = ("runs", "--configfile", "config/few.yaml", "--rerun-triggers", "mtime")
    process = start_workflow(place, REPOSITORY, *call_of_it)
    time.sleep(2 + 25 * moment)
    if struck == signal.SIGTERM:
        process.send_signal(struck)
    else:
        os.killpg(process.pid, struck)
    code = process.wait(timeout=PATIENCE)
    said = (place / "workflow.log").read_text(errors="replace")
    if struck == signal.SIGINT and code not in (0, 130):
        raise WrongError(f"the workflow ended with {code}: {said[-200:]!r}")
    _refuse_failed(place)
    process = start_workflow(place, REPOSITORY, *call_of_it)
    if (code := process.wait(timeout=PATIENCE)) != 0:
        said = (place / "workflow.log").read_text(errors="replace")
        raise WrongError(f"started again, the workflow ended with {code}: {said[-200:]!r}")
    for seed in EXPERIMENT["seeds"]:
        compare_run(place, ("finetune", seed), refused=False)


def _emptied(folder: Path, run: tuple[str, int]) -> Path:
    place = folder / "place"
    copy(base()[0], place)
    shutil.rmtree(run_folder(place, *run))
    return place


@cache
def _usual(run: tuple[str, int]) -> float:
    """Seconds that a run takes in a fork."""
    place = base()[0].parent / f"{base()[0].name}-timed-{run[0]}-{run[1]}"
    copy(base()[0], place)
    shutil.rmtree(run_folder(place, *run))
    started = time.perf_counter()
    process = child(lambda: call(run_arguments(*run), place))
    os.waitpid(process, 0)
    shutil.rmtree(place)
    return time.perf_counter() - started


def _judge_end(code: int, struck: signal.Signals, said: str | None) -> None:
    """It was finished already, or ended as the signal asks, in words where it had any."""
    if said is not None and "Traceback" in said:
        raise RuntimeError(said[-300:])
    if code == -struck:  # before the run begins, and while Python shuts down, it kills
        return
    if code not in (0, 128 + struck):
        raise RuntimeError(f"it ended with {code}: {(said or '')[-300:]}")
    if code and said is not None and f"ended by {struck.name}" not in said:
        raise RuntimeError(f"it does not say how it ended: {said[-300:]!r}")


def _refuse_failed(place: Path) -> None:
    status, said = call(["status", "--config", "config/few.yaml"], place)
    if status != 0 or "Traceback" in said:
        raise RuntimeError(said[-300:])
    if " failed" in said.splitlines()[0]:
        raise WrongError(f"a run that was struck is called failed: {said[:300]!r}")


def _go_on(place: Path, run: tuple[str, int]) -> None:
    _refuse_failed(place)
    status, said = call(run_arguments(*run), place)
    if status != 0:
        raise WrongError(f"it does not go on: {said[-300:]!r}")
    compare_run(place, run, refused=False)
    left = [*run_folder(place, *run).rglob(".*.part"), *run_folder(place, *run).glob("work")]
    if left:
        raise WrongError(f"{left[0].name} was left behind")


if __name__ == "__main__":
    base()
    sys.exit(main("killed runs", make, 200, __doc__ or "", seconds=2 * PATIENCE))
