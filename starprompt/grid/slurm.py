"""What SLURM says of a cluster: partitions, GPU types and time limits from ``sinfo``."""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field

#: one line for each kind of node of each partition
SINFO = ("sinfo", "-h", "-o", "%P|%a|%l|%D|%G")
#: how a part of a GPU is named, as in a100_1g.5gb: too small for most runs
_PART = re.compile(r"\d+g\.\d+gb")


@dataclass
class Partition:
    """What ``sinfo`` says of a partition; minutes None: no limit; GPUs by type, "" without one."""

    name: str
    default: bool
    up: bool
    minutes: int | None
    nodes: int = 0
    gpus: Counter[str] = field(default_factory=Counter)

    def kinds(self) -> list[str]:
        """Types of GPU, whole ones first, the commonest first among them."""
        return sorted(self.gpus, key=lambda kind: (bool(_PART.search(kind)), -self.gpus[kind]))

    def whole_gpus(self) -> int:
        """Number of GPUs that are not cut into parts."""
        return sum(number for kind, number in self.gpus.items() if not _PART.search(kind))

    def __str__(self) -> str:
        limit = "no time limit" if self.minutes is None else f"at most {duration(self.minutes)}"
        kinds = [f"{n} {kind or 'GPU'}" for kind, n in self.gpus.most_common()]
        marks = ["default"] * self.default + ["down"] * (not self.up)
        said = [f"{self.nodes} nodes", ", ".join(kinds) or "no GPU", limit, *marks]
        return f"{self.name}: {'; '.join(said)}"


def parse_partitions(text: str) -> list[Partition]:
    """Partitions from ``sinfo -h -o "%P|%a|%l|%D|%G"``, the kinds of their nodes added up."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) != 5:
            continue
        name, available, limit, nodes, gres = parts
        partition = found.setdefault(
            name.rstrip("*"),
            Partition(name.rstrip("*"), name.endswith("*"), available == "up", _minutes(limit)),
        )
        partition.nodes += int(nodes)
        for kind, count in _gpus(gres):
            partition.gpus[kind] += count * int(nodes)
    return list(found.values())


def parse_settings(text: str) -> dict[str, str]:
    """``scontrol show config`` as names and values."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _gpus(gres: str) -> list[tuple[str, int]]:
    """(type, number) of the GPUs in a node's generic resources: ``gpu:a100:4(S:0-1),nvme:1``."""
    found = []
    for entry in re.sub(r"\([^)]*\)", "", gres).split(","):
        words = entry.split(":")
        if words[0] != "gpu":
            continue
        number = int(words[-1]) if words[-1].isdigit() else 1
        kind = ":".join(words[1:-1] if words[-1].isdigit() else words[1:])
        found.append((kind, number))
    return found


def _minutes(limit: str) -> int | None:
    """A time limit of SLURM's, ``[days-]hours:minutes:seconds``; None without one."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes + (seconds > 0)


def duration(minutes: int) -> str:
    """Minutes in words: 1 d 2 h 30 min."""
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    words = [f"{days} d"] * (days > 0) + [f"{hours} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0)
    return " ".join(words) or "0 min"


def answer(*command: str) -> str | None:
    """What a program prints; None where it is missing, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
