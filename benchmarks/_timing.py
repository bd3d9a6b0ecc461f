"""How benchmarks time a call, and the one line of JSON that each prints last.

torch is imported only when a device is requested, because it would count as memory of the programs
that a benchmark starts.
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: most calls that a time budget may be spent on
MOST_CALLS = 50


def best(
    call: Callable[[], object],
    repeats: int,
    device: "torch.device | None" = None,
    *,
    warm_up: bool = True,
    wall: bool = False,
) -> float:
    """Seconds of the fastest of ``repeats`` calls.

    device   where it computes; None: the CPU
    warm_up  make one untimed call first
    wall     elapsed time on the CPU too; otherwise the CPU time of this process, which other
             processes on the machine disturb less. On a GPU it is always elapsed time.
    """
    if warm_up:
        call()
    return min(_seconds(call, device, wall) for _ in range(repeats))


def best_within(
    call: Callable[[], object], budget: float, device: "torch.device | None" = None
) -> float:
    """Seconds of the fastest of at least two calls, as many as ``budget`` seconds allow."""
    times: list[float] = []
    while len(times) < 2 or (sum(times) < budget and len(times) < MOST_CALLS):
        times.append(_seconds(call, device, wall=False))
    return min(times)


def _seconds(call: Callable[[], object], device: "torch.device | None", wall: bool) -> float:
    if device is None or device.type != "cuda":
        clock = time.perf_counter if wall else time.process_time
        start = clock()
        call()
        return clock() - start
    from starprompt.machine.devices import synchronize

    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def peak_gb(call: Callable[[], object], device: "torch.device") -> float:
    """Most memory that tensors take during a call, GB; 0 on the CPU."""
    if device.type != "cuda":
        return 0.0
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device) / 1e9


def report(name: str, ratio: float, **numbers: object) -> None:
    """Print the last line: JSON with ``name``, ``ratio`` and further numbers."""
    print(json.dumps({"name": name, "ratio": ratio, **numbers}))
