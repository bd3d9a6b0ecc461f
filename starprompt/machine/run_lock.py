"""The lock of a run, and a note beside it that names its owner.

The lock alone says whether somebody does; the note of a killed process stays and means nothing.
"""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from starprompt.files import read_json, write_json
from starprompt.machine.leases import describe_lease

LOCK = ".lock"
NOTE = ".owner.json"


def write_note(folder: Path) -> None:
    """Say in ``folder``, whose lock this process holds, who it is and where."""
    note = {
        "process": os.getpid(),
        "host": platform.node(),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "devices": ", ".join((describe_lease() or {"devices": []})["devices"]),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / NOTE, note)


def owner(folder: Path) -> dict[str, Any] | None:
    """The note of the process that works on ``folder``: empty if it left none, None without one.

    The lock is tried for an instant; a run that begins in it waits half a second.
    """
    if not (folder / LOCK).exists():
        return None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            return dict(read_json(folder / NOTE))
        except (ValueError, TypeError):
            return {}
    lock.release()
    return None
