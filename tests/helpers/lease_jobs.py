"""Jobs that lease devices, sleep and end or are killed: ``python lease_jobs.py FOLDER SEED KIND``.

Starts 200 processes, twelve at a time, over four fake devices; every one notes what happens to it
in ``events.jsonl``. They are forked, because 200 starts of Python would be most of the time.

KIND  same: every job wants one whole device.  shares: half of one.
      mixed: one or two devices, whole or a half or a third of each, of two or more visible ones.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from starprompt.machine import leases

DEVICES = 4
JOBS = 200
AT_ONCE = 12


def note(folder: Path, **event: object) -> None:
    """One line, written in one piece."""
    line = json.dumps({"time": time.monotonic(), **event}) + "\n"
    file = os.open(folder / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def job(folder: Path, number: int, chance: random.Random, kind: str) -> None:
    count, share, seen = 1, {"same": 1, "shares": 2}.get(kind, 1), list(range(DEVICES))
    if kind == "mixed":
        seen = chance.sample(seen, chance.randint(2, DEVICES))
        count, share = chance.randint(1, 2), chance.randint(1, 3)
    environ = {
        leases.FOLDER: str(folder / "leases"),
        leases.FAKE: str(DEVICES),
        leases.VISIBLE: ",".join(map(str, seen)),
    }
    note(folder, job=number, what="asks")
    held = leases.lease(count, share, f"job {number}", environ)
    assert held is not None and len(held.devices) == count
    note(folder, job=number, what="has", devices=held.devices, share=share)
    time.sleep(chance.uniform(0.01, 0.2))
    if chance.random() < 0.15:
        note(folder, job=number, what="killed")
        os.kill(os.getpid(), signal.SIGKILL)
    note(folder, job=number, what="ends")


def main(folder: Path, seed: int, kind: str) -> None:
    chance = random.Random(seed)
    running: dict[int, tuple[int, float]] = {}  # by pid: number of the job, when to kill it
    started = 0
    while started < JOBS or running:
        while started < JOBS and len(running) < AT_ONCE:
            own, doomed = random.Random(chance.random()), chance.random() < 0.2
            pid = os.fork()
            if pid == 0:
                job(folder, started, own, kind)
                os._exit(0)
            moment = chance.uniform(0, 0.3) if doomed else float("inf")
            running[pid] = (started, time.monotonic() + moment)
            started += 1
        for pid, (number, moment) in list(running.items()):
            if time.monotonic() >= moment:
                note(folder, job=number, what="killed")
                os.kill(pid, signal.SIGKILL)
                running[pid] = (number, float("inf"))
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                note(folder, job=number, what="gone", status=status)
                del running[pid]
        time.sleep(0.002)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
