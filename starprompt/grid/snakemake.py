"""Run Snakemake so that a killed run can be started again: ``python -m starprompt.grid.snakemake``.

Snakemake marks the files it works on as locked and takes the marks away when it ends. After
SIGKILL or a power cut they stay, and every later call refuses to start until someone unlocks by
hand. Here a lock that falls with its process says whether the marks' owner still lives.
"""

import sys
from pathlib import Path

from filelock import FileLock, Timeout

STATE = Path(".snakemake")


def run_workflow(arguments: list[str]) -> int:
    """Run ``snakemake ARGUMENTS`` in this process and folder; return its exit status.

    Marks that a killed call of this function left are removed first. Marks of a Snakemake that
    was started in another way are left alone: it may live, here or on another machine. A second
    call in the same folder waits until the first has ended.
    """
    STATE.mkdir(exist_ok=True)
    lock = FileLock(STATE / "starprompt.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("Another run works in this folder: waiting until it has ended.", file=sys.stderr)  # noqa: T201
        lock.acquire(poll_interval=0.5)
    unfinished = STATE / "starprompt.unfinished"
    try:
        if unfinished.exists():
            _remove_marks()
        unfinished.touch()
        status = _snakemake(arguments)
        unfinished.unlink(missing_ok=True)
    finally:
        lock.release()
    return status


def _remove_marks() -> None:
    for mark in (STATE / "locks").glob("*.lock"):
        mark.unlink(missing_ok=True)


def _snakemake(arguments: list[str]) -> int:
    """In this very process, so that no Snakemake outlives the lock."""
    from snakemake.cli import main

    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(run_workflow(sys.argv[1:]))
