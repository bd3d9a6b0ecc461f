"""Processor seconds of a training process that only starts and ends: what is saved, and by what.

    python benchmarks/process_start.py

Each time is that of a fresh process, which imports what a run imports and takes a step of an
optimiser; user and system time, so that other work on the machine disturbs it less. The last line's
ratio is the median of plain imports over the median of a run's way: without PyTorch's compiler
(`machine/without_compiler.py`) and with the garbage collector off (`machine/loading.py`).
"""

import os
import subprocess
import sys
from statistics import median

from _timing import report

PROGRAM = """
{before}
import starprompt.training.run
import torch
{after}
parameter = torch.nn.Parameter(torch.zeros(3))
optimiser = torch.optim.Adam([parameter])
parameter.sum().backward()
optimiser.step()
"""
NO_COMPILER = "from starprompt.machine.without_compiler import leave_the_compiler_out as leave"
NO_COLLECTOR = "from starprompt.machine import loading"
#: what each kind of process does before its imports, and after them
KINDS = {
    "plain": ("", ""),
    "without the compiler": (f"{NO_COMPILER}; leave()", ""),
    "and the collector off": (
        f"{NO_COLLECTOR}; loading.begin(); {NO_COMPILER}; leave()",
        "loading.loaded()",
    ),
}
REPEATS = 3


def processor_seconds(before: str, after: str) -> float:
    """User and system time of one process."""
    earlier = os.times()
    program = PROGRAM.format(before=before, after=after)
    subprocess.run([sys.executable, "-c", program], check=True)
    later = os.times()
    user = later.children_user - earlier.children_user
    return user + later.children_system - earlier.children_system


def main() -> None:
    processor_seconds("", "")  # reads the files from the disk
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(REPEATS):
        for kind, around in KINDS.items():
            times[kind].append(processor_seconds(*around))
    found = {kind: median(of_kind) for kind, of_kind in times.items()}
    print(", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in found.items()))
    plain, *_, ours = found.values()
    report(
        "process_start",
        round(plain / ours, 2),
        **{kind.replace(" ", "_"): round(seconds, 2) for kind, seconds in found.items()},
    )


if __name__ == "__main__":
    main()
