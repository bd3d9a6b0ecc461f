"""Kill runs of the toy in every moment that matters and say how each went on: kill_trials.py FOLDER

    operation-NNN  SIGKILL at the n-th operation on a file, for every n there is
    random-N       SIGKILL after a random time, again and again until it is done
  terminated     SIGTERM while the second task ends

Each run happens in a child forked from this process, which has trained the toy once, undisturbed
and in one thread, so that a child costs no import. Prints one line a trial: name, kills, attempts.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from starprompt.errors import TerminatedError
from starprompt.record.record import read_record
from tests.helpers.continual_toy import ToyLearner, run_toy

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.copyfile")


def child(action: Callable[[], Any]) -> int:
    """Process id of a forked child that does ``action`` and exits."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        action()
        status = 0
    finally:
        os._exit(status)


def ended_by(pid: int) -> int:
    """Wait for a child: 0 if all went well, minus the signal that ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code <= 0, f"the child failed with {code}"
    return code


def killed_at_operation(folder: Path, number: int) -> None:
    """Run the toy; SIGKILL just before the ``number``-th operation on a file of its folder."""
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in FILE_EVENTS and str(folder) in str(arguments[:2]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run_toy(folder)


def files(root: Path) -> None:
    number, finished = 0, False
    while not finished:
        number += 1
        folder = root / f"operation-{number:03d}"
        finished = ended_by(child(lambda f=folder, n=number: killed_at_operation(f, n))) == 0
        if not finished:
            assert ended_by(child(lambda f=folder: run_toy(f))) == 0
        report(folder, int(not finished))


def at_random(root: Path) -> None:
    rng = random.Random(0)
    started = time.perf_counter()
    ended_by(child(lambda: run_toy(root / "timed")))
    usual = time.perf_counter() - started
    for trial in range(20):
        folder, kills = root / f"random-{trial}", 0
        while True:
            pid = child(lambda f=folder: run_toy(f))
            # always a later moment, or a slow machine would never finish
            time.sleep(rng.uniform(0, usual) + 0.1 * usual * kills)
            os.kill(pid, signal.SIGKILL)
            if ended_by(pid) == 0:
                break
            kills += 1
        report(folder, kills)


class Terminated(ToyLearner):
    """Sends itself SIGTERM in the end of the second task; what is after that must not happen."""

    def end_task(self, task: Any) -> None:
        if self.seen == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)
        super().end_task(task)


def run_until_terminated(folder: Path) -> None:
    try:
        run_toy(folder, Terminated)
    except TerminatedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def terminated(root: Path) -> None:
    folder = root / "terminated"
    assert ended_by(child(lambda: run_until_terminated(folder))) == -signal.SIGTERM
    assert (folder / "work" / "task-000" / "state.safetensors").is_file()
    assert ended_by(child(lambda: run_toy(folder))) == 0
    report(folder, 1)


def report(folder: Path, kills: int) -> None:
    print(folder.name, kills, read_record(folder / "record.json").attempts, flush=True)  # noqa: T201


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_toy(Path(sys.argv[1]) / "undisturbed")
    for trials in (files, at_random, terminated):
        trials(Path(sys.argv[1]))
