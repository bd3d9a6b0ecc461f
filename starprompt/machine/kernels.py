"""Which kernels the processor has, and which ones the libraries of this process have chosen.

Each library is asked for its own: what the environment says now may have come too late for it.
"""

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")


def system_flags() -> set[str]:
    """Instruction sets of the processor by Linux's names; none where the system names none."""
    with suppress(OSError), CPUINFO.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return set()


def environment_at_start() -> dict[str, str]:
    """The variables that this process started with; none where the system does not say."""
    try:
        text = Path("/proc/self/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return {name: value for name, _, value in (one.partition("=") for one in text.split("\0"))}


def numpy_features() -> set[str]:
    """Instruction sets that NumPy uses in this process, by its own names.

    It asks the processor itself, and leaves out what was disabled when it was imported.
    """
    import numpy as np

    known: Any = np.show_config(mode="dicts")
    extensions = known["SIMD Extensions"]
    return {*extensions.get("baseline", ()), *extensions.get("found", ())}


def torch_kernels() -> str:
    """The instruction set of torch's own kernels, such as ``AVX2``."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def mkl_branch() -> int | None:
    """MKL's number of the branch that torch's MKL computes with; None where it does not say."""
    import torch

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return int(ctypes.CDLL(str(library)).mkl_serv_cbwr_get(-1))
    except (AttributeError, OSError):
        return None


def openblas() -> list[tuple[str | None, int]]:
    """The processor's name and the number of threads of each OpenBLAS loaded by now.

    The name is None where the library does not say.
    """
    from threadpoolctl import threadpool_info

    return [
        (library.get("architecture"), library["num_threads"])
        for library in threadpool_info()
        if library["internal_api"] == "openblas"
    ]
