"""Which GPUs a process may use, by their physical identity, without asking CUDA.

An index means another device in every process that sees other ones; a UUID never does, so that
jobs which see different devices, some of them the same, can agree on who has which.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: what SLURM says of a job's devices where it does not set the variable above
SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
#: environment variable, for tests: so many devices are there, and what leases them computes on CPU
FAKE = "STARPROMPT_FAKE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """A GPU by its identity, and the parts that it was cut into (MIG)."""

    name: str
    parts: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[str, ...]:
        """What can be computed on: the parts where there are any."""
        return self.parts or (self.name,)


def visible(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Identities of the devices that this process may use, as CUDA would take them.

    ``CUDA_VISIBLE_DEVICES`` may hold indices (in PCI order, as ``nvidia-smi`` counts), UUIDs of
    GPUs or their parts, or beginnings of these; what follows something unknown does not count, and
    empty means none. Where it is not set, SLURM's assignment counts, and else all that there are.
    """
    present = _present(environ)
    if VISIBLE in environ:
        return _chosen(environ[VISIBLE], present)
    for variable in SLURM:
        listed = [entry for entry in environ.get(variable, "").split(",") if entry]
        if listed:
            # Where the cluster hides the others from the job, what is left is counted from zero.
            hidden = len(present) <= len(listed)
            return _units(present) if hidden else _chosen(environ[variable], present)
    return _units(present)


def _chosen(text: str, present: Sequence[Gpu]) -> list[str]:
    found: list[str] = []
    for entry in (part.strip() for part in text.split(",")):
        if re.fullmatch(r"\d+", entry):
            if int(entry) >= len(present):
                break
            found += present[int(entry)].units
            continue
        named = {gpu.name: gpu.units for gpu in present}
        named |= {part: (part,) for gpu in present for part in gpu.parts}
        matching = [entry] if entry in named else [name for name in named if name.startswith(entry)]
        if not entry or len(matching) != 1:
            break
        found += named[matching[0]]
    return list(dict.fromkeys(found))


def _units(present: Iterable[Gpu]) -> list[str]:
    return [unit for gpu in present for unit in gpu.units]


def _present(environ: Mapping[str, str]) -> list[Gpu]:
    if FAKE in environ:
        return [Gpu(f"fake{index}") for index in range(int(environ[FAKE] or 0))]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=120
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_listing(listed.stdout)


def parse_listing(text: str) -> list[Gpu]:
    """The GPUs that ``nvidia-smi -L`` lists, in its order, each with its MIG devices."""
    gpus: list[Gpu] = []
    for line in text.splitlines():
        named = re.search(r"\(UUID: ([^)\s]+)\)", line)
        if named is None:
            continue
        if line.startswith("GPU "):
            gpus.append(Gpu(named[1]))
        elif gpus:
            gpus[-1] = Gpu(gpus[-1].name, (*gpus[-1].parts, named[1]))
    return gpus
