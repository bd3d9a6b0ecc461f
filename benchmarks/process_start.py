"""Processor seconds until a training process could begin, with PyTorch's compiler and without it.

    python benchmarks/process_start.py

Each time is that of a fresh process, which imports what a run imports and makes an optimiser; user
and system time, so that other work on the machine disturbs it less. The last line's ratio is the
median with the compiler over the median without it.
"""

import os
import subprocess
import sys
from statistics import median

from _timing import report

START = """
{before}
import starprompt.training.run
import torch
parameter = torch.nn.Parameter(torch.zeros(3))
optimiser = torch.optim.Adam([parameter])
parameter.sum().backward()
optimiser.step()
"""
WITHOUT = "from starprompt.machine.without_compiler import leave_the_compiler_out as leave; leave()"
REPEATS = 3


def processor_seconds(before: str) -> float:
    """User and system time of one process."""
    earlier = os.times()
    subprocess.run([sys.executable, "-c", START.format(before=before)], check=True)
    later = os.times()
    user = later.children_user - earlier.children_user
    return user + later.children_system - earlier.children_system


def main() -> None:
    processor_seconds("")  # reads the files from the disk
    times = [(processor_seconds(""), processor_seconds(WITHOUT)) for _ in range(REPEATS)]
    with_it, without = (median(of_kind) for of_kind in zip(*times, strict=True))
    print(f"with the compiler {with_it:.2f} s, without {without:.2f} s")
    report(
        "process_start",
        round(with_it / without, 2),
        with_compiler=round(with_it, 2),
        without_compiler=round(without, 2),
    )


if __name__ == "__main__":
    main()
