"""The right call of the workflow for the machine one stands on: `starprompt submit`.

On a cluster, where ``sinfo`` answers, jobs go to SLURM through ``workflow/profiles/slurm``, with
partitions and GPU types as ``sinfo`` lists them; elsewhere they run here, as many at a time as
there are GPUs. What the profile names already is left as it is. No torch.
"""

import re
import shlex
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from starprompt.config import Config
from starprompt.continual.gpus import visible
from starprompt.errors import UserError, unknown_name
from starprompt.files import read_yaml
from starprompt.grid import Grid

PROFILE = Path("workflow/profiles/slurm/config.yaml")
#: one line for each kind of node of each partition
SINFO = ("sinfo", "-h", "-o", "%P|%a|%l|%D|%G")
#: how a part of a GPU is named, as in a100_1g.5gb: too small for most runs
_PART = re.compile(r"\d+g\.\d+gb")
#: what the SLURM plugin takes for a type of GPU
_MODEL = re.compile(r"[a-zA-Z0-9_.]+")


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
        limit = "no time limit" if self.minutes is None else f"at most {_duration(self.minutes)}"
        kinds = [f"{n} {kind or 'GPU'}" for kind, n in self.gpus.most_common()]
        marks = ["default"] * self.default + ["down"] * (not self.up)
        said = [f"{self.nodes} nodes", ", ".join(kinds) or "no GPU", limit, *marks]
        return f"{self.name}: {'; '.join(said)}"


@dataclass(frozen=True)
class Call:
    """A call of the workflow, and what a person should know of the choice."""

    arguments: list[str]
    about: list[str]

    def __str__(self) -> str:
        return shlex.join(["python", "-m", "starprompt.workflow", *self.arguments])


@dataclass(frozen=True)
class Wishes:
    """What the user chose on the command line; None: to be found out. ``more``: as it is."""

    partition: str | None = None
    account: str | None = None
    gpu_model: str | None = None
    jobs: int = 100
    local: bool = False
    more: tuple[str, ...] = ()


def call(config_file: Path, config: Config, wishes: Wishes) -> Call:
    """The call for this machine. Raises :class:`UserError` for a partition that there is not."""
    listed = None if wishes.local else _answer(*SINFO)
    partitions = parse_partitions(listed or "")
    if partitions:
        settings = parse_settings(_answer("scontrol", "show", "config") or "")
        found = slurm_call(config_file, config, partitions, settings, wishes)
    else:
        found = local_call(config_file, config, len(visible()))
    return Call([*found.arguments, *wishes.more], found.about)


def local_call(config_file: Path, config: Config, gpus: int) -> Call:
    """Jobs on this machine, as many with a GPU at a time as there are."""
    arguments = ["--cores", "all", "--configfile", str(config_file)]
    if config.device == "cpu" or config.gpu == 0:
        return Call(arguments, ["Jobs run on this machine; the experiment asks for no GPU."])
    if gpus == 0:
        return Call(arguments, ["Jobs run on this machine, which has no GPU: on the CPU."])
    if config.gpu > gpus:
        raise UserError(
            f"{config_file} asks for {config.gpu} GPUs a run (gpu), but this machine has {gpus}."
        )
    arguments[2:2] = ["--resources", f"gpu={gpus}"]
    return Call(arguments, [f"Jobs run on this machine; GPUs: {gpus}."])


def slurm_call(
    config_file: Path,
    config: Config,
    partitions: list[Partition],
    settings: dict[str, str],
    wishes: Wishes,
    profile: Path = PROFILE,
) -> Call:
    """Jobs to a cluster's queue.

    settings  what ``scontrol show config`` says; empty where it does not answer
    """
    filled_in = read_yaml(profile)
    own = {k: v for k, v in (filled_in.get("default-resources") or {}).items() if v is not None}
    own_rules = filled_in.get("set-resources") or {}
    wants_gpu = config.device != "cpu" and config.gpu > 0
    chosen_name = wishes.partition or own.get("slurm_partition")
    main, gpu = _choose(partitions, chosen_name, wants_gpu)
    about = ["Partitions: " + " · ".join(map(str, partitions))]

    default = {**own, "slurm_partition": main.name}
    if wishes.account is not None:
        default["slurm_account"] = wishes.account
    training = [rule.name for rule in Grid(config).train_rules()]
    on_gpu = ["embed", *training]
    rules: dict[str, dict[str, object]] = {}
    if gpu.name != main.name:
        about.append(f"Jobs with a GPU go to {gpu.name}, the others to {main.name}.")
        rules = {rule: {"slurm_partition": gpu.name} for rule in on_gpu}
    model = wishes.gpu_model or _model(gpu, about) if wants_gpu else None
    if model is not None:
        for rule in on_gpu:
            rules.setdefault(rule, {})["gpu_model"] = model
    for name, values in own_rules.items():  # "train" means whatever trains
        for rule in training if name == "train" else [name]:
            rules[rule] = {**rules.get(rule, {}), **values}

    arguments = ["--workflow-profile", "slurm", "--configfile", str(config_file)]
    arguments += ["--jobs", str(wishes.jobs)]
    arguments += ["--default-resources", *(f"{key}={value}" for key, value in default.items())]
    settled = [f"{rule}:{key}={v}" for rule, vs in rules.items() for key, v in vs.items()]
    arguments += ["--set-resources", *settled] if settled else []
    arguments += _status_options(settings, filled_in, about)
    limits = [partition.minutes for partition in (main, gpu) if partition.minutes is not None]
    if limits and (config.max_runtime is None or min(limits) < config.max_runtime):
        arguments += ["--config", f"max_runtime={min(limits)}"]
        about.append(
            f"No job may take longer than {_duration(min(limits))}; a run that needs more goes on "
            "in its next attempt."
        )
    if "associations" in settings.get("AccountingStorageEnforce", "") and not default.get(
        "slurm_account"
    ):
        about.append("This cluster wants an account: --account NAME, or name it in the profile.")
    return Call(arguments, about)


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


def _duration(minutes: int) -> str:
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    words = [f"{days} d"] * (days > 0) + [f"{hours} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0)
    return " ".join(words) or "0 min"


def _choose(
    partitions: list[Partition], named: str | None, wants_gpu: bool
) -> tuple[Partition, Partition]:
    """Where jobs go, and where those with a GPU go: the default, if it has GPUs for them too."""
    by_name = {partition.name: partition for partition in partitions}
    if named is not None:
        if named not in by_name:
            raise unknown_name("partition", named, by_name)
        return by_name[named], by_name[named]
    up = [partition for partition in partitions if partition.up]
    if not up:
        raise UserError(f"No partition is up: {', '.join(by_name)}; ask `sinfo` again later.")
    main = next((partition for partition in up if partition.default), up[0])
    if not wants_gpu or main.gpus:
        return main, main
    with_gpus = [partition for partition in up if partition.gpus]
    if not with_gpus:
        raise UserError(
            "The experiment asks for a GPU, but no partition that is up has one "
            f"({', '.join(by_name)}); name one with --partition, or write gpu: 0."
        )
    return main, max(with_gpus, key=lambda p: (p.whole_gpus(), p.gpus.total()))


def _model(partition: Partition, about: list[str]) -> str | None:
    """The type of GPU to ask for: the commonest that can be asked for."""
    kinds = [kind for kind in partition.kinds() if kind]
    if not kinds:
        return None
    good = [kind for kind in kinds if _MODEL.fullmatch(kind)]
    if len(kinds) > 1:
        about.append(f"{partition.name} has {', '.join(kinds)}; choose with --gpu-model.")
    elif not good:
        about.append(f"All GPUs of {partition.name} are {kinds[0]}: no type needs asking for.")
    return good[0] if good else None


def _status_options(
    settings: dict[str, str], profile: dict[str, object], about: list[str]
) -> list[str]:
    """How often jobs are looked at, where the cluster forgets ended ones too soon for squeue."""
    remembered = re.match(r"\d+", settings.get("MinJobAge", ""))
    wait = int(str(profile.get("slurm-init-seconds-before-status-checks", 40)))
    if remembered is None or int(remembered[0]) >= 3 * wait:
        return []
    shorter = int(remembered[0]) // 3
    if shorter >= 5:
        return ["--slurm-init-seconds-before-status-checks", str(shorter)]
    if "slurmdbd" in settings.get("AccountingStorageType", ""):
        return ["--slurm-status-command", "sacct"]
    about.append(
        f"This cluster forgets ended jobs after {remembered[0]} s and has no database: Snakemake "
        "may not see jobs end (docs/slurm.md: sacct and squeue)."
    )
    return []


def _answer(*command: str) -> str | None:
    """What a program prints; None where it is missing, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
