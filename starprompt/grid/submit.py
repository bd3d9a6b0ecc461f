"""The right call of the workflow for this machine: `starprompt submit`.

On a cluster, where ``sinfo`` answers, jobs go to SLURM through ``workflow/profiles/slurm``, with
partitions and GPU types as ``sinfo`` lists them; elsewhere they run here, as many at a time as
there are GPUs. What the profile names already is left as it is. No torch.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from starprompt.config.experiment import Config
from starprompt.errors import UserError, unknown_name
from starprompt.files import read_yaml
from starprompt.grid.jobs import Grid
from starprompt.grid.slurm import (
    SINFO,
    Partition,
    answer,
    duration,
    parse_partitions,
    parse_settings,
)
from starprompt.machine.gpus import visible
from starprompt.shipped.find import find

PROFILE = Path("profiles/slurm/config.yaml")
#: what the SLURM plugin takes for a type of GPU
_MODEL = re.compile(r"[a-zA-Z0-9_.]+")
#: the only way of selecting nodes under which SLURM takes ``--gpus``
_TRES = "select/cons_tres"


@dataclass(frozen=True)
class Call:
    """A call of the workflow, and notes on the choice."""

    arguments: list[str]
    about: list[str]

    def __str__(self) -> str:
        return shlex.join(["python", "-m", "starprompt.grid.snakemake", *self.arguments])


@dataclass(frozen=True)
class SubmitOptions:
    """What the user chose on the command line; None: to be determined. ``more``: passed on."""

    partition: str | None = None
    account: str | None = None
    gpu_model: str | None = None
    jobs: int = 100
    local: bool = False
    more: tuple[str, ...] = ()


def call(config_file: Path, config: Config, options: SubmitOptions) -> Call:
    """The call for this machine. Raises :class:`UserError` for a partition that there is not."""
    listed = None if options.local else answer(*SINFO)
    partitions = parse_partitions(listed or "")
    if partitions:
        settings = parse_settings(answer("scontrol", "show", "config") or "")
        found = slurm_call(config_file, config, partitions, settings, options)
    else:
        found = local_call(config_file, config, len(visible()))
    return Call([*found.arguments, *options.more], found.about)


def local_call(config_file: Path, config: Config, gpus: int) -> Call:
    """Jobs on this machine, as many with a GPU at a time as there are."""
    arguments = ["--cores", "all", "--configfile", str(config_file)]
    if config.device == "cpu" or config.gpu == 0:
        return Call(arguments, ["Jobs run on this machine; the experiment asks for no GPU."])
    if gpus == 0:
        return Call(arguments, ["Jobs run on this machine, which has no GPU: on the CPU."])
    if config.gpu > gpus:
        raise UserError(
            f"{config_file} asks for {config.gpu} GPUs per run (gpu), but this machine has "
            f"{gpus}; lower gpu."
        )
    arguments[2:2] = ["--resources", f"gpu={gpus}"]
    return Call(arguments, [f"Jobs run on this machine; GPUs: {gpus}."])


def slurm_call(
    config_file: Path,
    config: Config,
    partitions: list[Partition],
    settings: dict[str, str],
    options: SubmitOptions,
    profile: Path = PROFILE,
) -> Call:
    """Jobs to a cluster's queue.

    settings  what ``scontrol show config`` says; empty where it does not answer
    """
    filled_in = read_yaml(find(profile))
    own = {k: v for k, v in (filled_in.get("default-resources") or {}).items() if v is not None}
    own_rules = filled_in.get("set-resources") or {}
    wants_gpu = config.device != "cpu" and config.gpu > 0
    chosen_name = options.partition or own.get("slurm_partition")
    main, gpu = _choose(partitions, chosen_name, wants_gpu)
    about = ["Partitions: " + " · ".join(map(str, partitions))]

    default = {**own, "slurm_partition": main.name}
    if options.account is not None:
        default["slurm_account"] = options.account
    training = [rule.name for rule in Grid(config).train_rules()]
    on_gpu = ["embed", *training]
    rules: dict[str, dict[str, object]] = {}
    if gpu.name != main.name:
        about.append(f"Jobs with a GPU go to {gpu.name}, the others to {main.name}.")
        rules = {rule: {"slurm_partition": gpu.name} for rule in on_gpu}
    model = options.gpu_model or _model(gpu, about) if wants_gpu else None
    if model is not None:
        for rule in on_gpu:
            rules.setdefault(rule, {})["gpu_model"] = model
    for name, values in own_rules.items():  # "train" means whatever trains
        for rule in training if name == "train" else [name]:
            rules[rule] = {**rules.get(rule, {}), **values}
    if wants_gpu and settings.get("SelectType", _TRES) != _TRES:
        for rule in on_gpu:
            rules[rule] = _by_gres(rules.get(rule, {}), config.gpu)
        about.append("This cluster does not know --gpus: jobs request their GPUs by --gres.")

    arguments = ["--workflow-profile", "slurm", "--configfile", str(config_file)]
    arguments += ["--jobs", str(options.jobs)]
    arguments += ["--default-resources", *(f"{key}={value}" for key, value in default.items())]
    settled = [f"{rule}:{key}={v}" for rule, vs in rules.items() for key, v in vs.items()]
    arguments += ["--set-resources", *settled] if settled else []
    arguments += _status_options(settings, filled_in, about)
    limits = [partition.minutes for partition in (main, gpu) if partition.minutes is not None]
    if limits and (config.max_runtime is None or min(limits) < config.max_runtime):
        arguments += ["--config", f"max_runtime={min(limits)}"]
        about.append(
            f"No job may take longer than {duration(min(limits))}; a run that needs more goes on "
            "in its next attempt."
        )
    if "associations" in settings.get("AccountingStorageEnforce", "") and not default.get(
        "slurm_account"
    ):
        about.append("This cluster wants an account: --account NAME, or name it in the profile.")
    return Call(arguments, about)


def _by_gres(resources: dict[str, object], gpus: int) -> dict[str, object]:
    """A rule's resources with its GPUs among the generic ones, which is how older SLURM counts."""
    rest = {key: value for key, value in resources.items() if key not in ("gpu", "gpu_model")}
    model, number = resources.get("gpu_model"), resources.get("gpu", gpus)
    gres = ":".join(str(part) for part in ("gpu", model, number) if part is not None)
    return {"gres": gres, **rest, "gpu": 0}


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
    min_age = re.match(r"\d+", settings.get("MinJobAge", ""))
    wait = int(str(profile.get("slurm-init-seconds-before-status-checks", 40)))
    if min_age is None or int(min_age[0]) >= 3 * wait:
        return []
    shorter = int(min_age[0]) // 3
    if shorter >= 5:
        return ["--slurm-init-seconds-before-status-checks", str(shorter)]
    if "slurmdbd" in settings.get("AccountingStorageType", ""):
        return ["--slurm-status-command", "sacct"]
    about.append(
        f"This cluster forgets ended jobs after {min_age[0]} s and has no database: Snakemake "
        "may not see jobs end (docs/slurm.md: sacct and squeue)."
    )
    return []
