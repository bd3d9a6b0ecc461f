"""The device a run computes on: choosing it, describing it, and what memory it took."""

import gc
import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from starprompt.errors import UserError, unknown_name
from starprompt.machine import numerics
from starprompt.machine.leases import describe_lease


def pick_device(name: str = "auto") -> torch.device:
    """The device meant by ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.

    Raises :class:`UserError` for any other name, or when CUDA is asked for and not there.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise unknown_name("device", name, ("auto", "cpu", "cuda"))
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if name == "cuda":
        raise UserError(
            "The configuration asks for device: cuda, but torch finds no CUDA device on "
            f"{platform.node()}; write device: auto or device: cpu."
        )
    return torch.device("cpu")


def use_threads(threads: int) -> None:
    """Let torch compute with this many CPU threads.

    One thread a process is the rule of the workflow: two processes of two threads each on two
    cores take longer than one after the other.
    """
    if threads < 1:
        raise UserError(f"threads must be at least 1, not {threads}.")
    torch.set_num_threads(threads)


def fix_cublas_workspace() -> None:
    """Give cuBLAS a workspace of one size, with which it takes one algorithm for one product."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic(on: bool = True) -> Iterator[None]:
    """Let GPUs give equal results from run to run, at some cost in speed; restore it on exit.

    Deterministic kernels, no autotuning of convolutions. Has no effect when ``on`` is false.
    cuBLAS reads its workspace when it is first used, before which :func:`fix_cublas_workspace` has
    to be called. Raises :class:`UserError` where a kernel has no deterministic form.
    """
    if not on:
        yield
        return
    settings: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        settings.fill_uninitialized_memory,
    )
    fix_cublas_workspace()
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        # Filling memory that is about to be written anyway finds bugs, at a price per allocation.
        settings.fill_uninitialized_memory = False
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise UserError(
            f"deterministic: true is not possible here ({str(error).splitlines()[0]}); write "
            "deterministic: false."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]
        settings.fill_uninitialized_memory = before[3]


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given, so that a clock read next is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure the peak anew where that is possible (CUDA, and Linux for a process)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def release_memory() -> None:
    """Give back what a finished run held, before another begins in this process."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def peak_memory_bytes(device: torch.device) -> int:
    """Most bytes held since the last reset: by torch's tensors on CUDA, by the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024  # given in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def describe_device(device: torch.device) -> dict[str, Any]:
    """What the record says of the device: type, name, threads, memory of a GPU, and its lease."""
    about: dict[str, Any] = {
        "type": device.type,
        "name": cpu_name(),
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "platform": platform.platform(),
        "numerics": numerics.describe(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about |= {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    if (lease := describe_lease()) is not None:
        about["lease"] = lease
    return about


def cpu_name() -> str:
    """The processor's trade name where the system tells it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
