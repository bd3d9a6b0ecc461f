"""`starprompt doctor`: what an experiment needs of this machine, a line each.

Every check has a time limit of its own, since a dead network file system, a broken driver or a
proxy may never answer. Nothing is changed, and nothing is fetched.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from starprompt.config.experiment import RESULTS, Config
from starprompt.errors import UserError, reason

#: seconds that one check may take; importing torch from a slow disk is the longest
LIMIT = 60.0
#: address that weights and data sets come from
HUB = ("huggingface.co", 443)
HUB_SECONDS = 3.0
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    state   ok; note: nothing is wrong yet; wrong: the experiment cannot run like this
    found   what is there
    advice  what to do, empty where nothing needs doing
    """

    name: str
    state: Literal["ok", "note", "wrong"]
    found: str
    advice: str = ""


Check = Callable[[Config], Finding]


def examine(config: Config, limit: float = LIMIT) -> Iterator[Finding]:
    """The findings of all checks for an experiment, as they come; none takes longer than limit."""
    for name, check in CHECKS.items():
        yield limited(name, check, config, limit)


def limited(name: str, check: Check, config: Config, limit: float) -> Finding:
    """What a check finds within ``limit`` seconds; its error is a finding too."""
    found: list[Finding] = []

    def work() -> None:
        try:
            found.append(replace(check(config), name=name))
        except UserError as error:
            found.append(Finding(name, "wrong", str(error)))
        except Exception as error:
            found.append(Finding(name, "wrong", f"the check failed: {reason(error)}"))

    thread = threading.Thread(target=work, daemon=True, name=f"doctor: {name}")
    thread.start()
    thread.join(limit)
    silent = Finding(
        name, "wrong", f"no answer in {limit:g} seconds", "look for a disk or driver that hangs"
    )
    return found[0] if found else silent


def as_text(finding: Finding, width: int = 80) -> str:
    """A finding as lines of at most ``width`` characters, but for names that are longer."""
    import textwrap

    advice = f" → {finding.advice}" if finding.advice else ""
    head = f"{finding.state:<6}{finding.name:<12}"
    return textwrap.fill(
        finding.found + advice,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_json(findings: list[Finding]) -> str:
    """All findings, for scripts."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def _python(config: Config) -> Finding:
    here = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("", "wrong", here, "install Python 3.11 or newer")
    return Finding("", "ok", f"{here}, {sys.executable}")


TORCH = """
import json, torch
cuda = torch.cuda.is_available()
count = torch.cuda.device_count() if cuda else 0
devices = [torch.cuda.get_device_properties(i) for i in range(count)]
print(json.dumps({
    "version": torch.__version__, "built": torch.version.cuda, "cuda": cuda,
    "kernels": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
    "devices": [f"{d.name} ({d.total_memory / 2**30:.0f} GiB)" for d in devices],
}))
"""


def _ask_torch() -> dict[str, Any]:
    """What torch says in a process of its own, which a broken driver may take down."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", TORCH],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"Importing torch took more than {LIMIT:g} seconds.") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(f"torch cannot be imported: {last[:200]}; install it again.")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


class _Torch:
    """Torch is asked once, for two checks."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        if self.answer is None:
            self.answer = _ask_torch()
        return self.answer


_torch_facts = _Torch()


def _torch(config: Config) -> Finding:
    facts = _torch_facts()
    built = f"built for CUDA {facts['built']}" if facts["built"] else "built for the CPU"
    text = f"{facts['version']}, {built}, {facts['kernels']} kernels"
    return Finding("", "ok", text)


def _cuda(config: Config) -> Finding:
    facts = _torch_facts()
    if facts["cuda"]:
        return Finding("", "ok", f"CUDA {facts['built']}: {', '.join(facts['devices'])}")
    needed = config.device == "cuda"
    if facts["built"]:
        text, advice = "torch sees no GPU", "none is here, or its driver is too old: nvidia-smi"
    else:
        text = "torch is built for the CPU alone"
        advice = "for GPUs: pip install --force-reinstall torch torchvision"
    return Finding("", "wrong" if needed else "ok", text, advice if config.gpu else "")


def _numerics(config: Config) -> Finding:
    from starprompt.machine.numerics import why_impossible

    why = why_impossible()
    if why is None:
        return Finding("", "ok", f"{config.numerics}; portable is possible here")
    wrong = config.numerics == "portable"
    advice = "write numerics: native; tables of portable runs can be made here" if wrong else ""
    return Finding("", "wrong" if wrong else "ok", f"{config.numerics}; portable {why}", advice)


def _gpus(config: Config) -> Finding:
    from starprompt.machine.gpus import visible

    here = visible()
    asked = config.gpu if config.device != "cpu" else 0
    text = f"{len(here)} visible, a run asks for {asked}"
    if asked and not here and config.device == "cuda":
        return Finding("", "wrong", text, "write device: auto, or go to a machine with a GPU")
    if asked > len(here) > 0:
        return Finding("", "wrong", text, "lower gpu in the experiment")
    if asked and not here:
        return Finding("", "note", text, "runs use the CPU here; see `starprompt cost`")
    return Finding("", "ok", text)


def _disk(config: Config) -> Finding:
    from starprompt.budget.report import forecast

    needed = forecast(config).totals()["disk_bytes"]
    place = _nearest(RESULTS)
    free = shutil.disk_usage(place).free
    text = f"the grid needs {_gigabytes(needed)}, {_gigabytes(free)} are free in {place.resolve()}"
    if not os.access(place, os.W_OK):
        return Finding("", "wrong", text, "no permission to write there; choose another folder")
    if free < needed:
        return Finding("", "wrong", text, "free some, or move to a larger disk")
    return Finding("", "ok", text)


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _hub(config: Config) -> Finding:
    import socket

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding("", "note", "HF_HUB_OFFLINE is set: nothing is fetched")
    try:
        with socket.create_connection(HUB, timeout=HUB_SECONDS):
            return Finding("", "ok", f"{HUB[0]} answers")
    except OSError as error:
        advice = "fetch elsewhere: `starprompt weights where`, `starprompt data where NAME`"
        return Finding("", "note", f"{HUB[0]} is not reached: {reason(error)}", advice)


def _weights(config: Config) -> Finding:
    from starprompt.backbones import weights
    from starprompt.backbones.names import parse_clip, parse_vit

    names = {"clip": config.backbones.clip, "vit": config.backbones.vit}
    missing = []
    for kind, name in names.items():
        if name == "tiny":
            continue
        source = parse_clip(name) if kind == "clip" else parse_vit(name)
        if not source.random and weights.find_local(source) is None:
            missing.append(name)
    if missing:
        advice = f"starprompt weights download {' '.join(missing)}"
        return Finding("", "note", f"not on this machine: {', '.join(missing)}", advice)
    return Finding("", "ok", " and ".join(dict.fromkeys(names.values())))


def _data(config: Config) -> Finding:
    from starprompt.data.commands import state
    from starprompt.data.registry import data_root, load_dataset_spec

    root = data_root()
    states = {name: state(load_dataset_spec(name), root) for name in config.datasets}
    groups: dict[str, list[str]] = {}
    for name, found in states.items():
        groups.setdefault(found, []).append(name)
    text = "; ".join(f"{found}: {', '.join(names)}" for found, names in groups.items())
    if "folder missing" in groups:
        name = groups["folder missing"][0]
        return Finding("", "wrong", text, f"starprompt data where {name}")
    if "not fetched" in groups:
        name = groups["not fetched"][0]
        return Finding("", "note", text, f"fetched when first needed; starprompt data where {name}")
    return Finding("", "ok", f"{text} (in {root.absolute()})")


def _snakemake(config: Config) -> Finding:
    return Finding("", "ok", version("snakemake"))


def _plugin(config: Config) -> Finding:
    name = "snakemake-executor-plugin-slurm"
    try:
        return Finding("", "ok", f"{name} {version(name)}")
    except PackageNotFoundError:
        on_cluster = shutil.which("sbatch") is not None
        advice = "pip install 'starprompt[slurm]'" if on_cluster else ""
        text = "none for SLURM" + ("" if on_cluster else "; none is needed here")
        return Finding("", "note" if on_cluster else "ok", text, advice)


def _slurm(config: Config) -> Finding:
    from starprompt.grid.slurm import SINFO, answer, parse_partitions

    if shutil.which("sinfo") is None:
        return Finding("", "ok", "not on this machine: jobs run here")
    listed = answer(*SINFO)
    if listed is None:
        advice = "ask the cluster's operators; `starprompt submit --local` runs here"
        return Finding("", "note", "sinfo does not answer", advice)
    partitions = parse_partitions(listed)
    if not any(partition.up for partition in partitions):
        return Finding("", "note", "no partition is up", "ask again later: sinfo")
    text = "partitions: " + " · ".join(map(str, partitions))
    return Finding("", "ok", text, "starprompt submit prints the call")


CHECKS: dict[str, Check] = {
    "Python": _python,
    "torch": _torch,
    "CUDA": _cuda,
    "GPUs": _gpus,
    "numerics": _numerics,
    "disk": _disk,
    "hub": _hub,
    "weights": _weights,
    "data": _data,
    "Snakemake": _snakemake,
    "plugin": _plugin,
    "SLURM": _slurm,
}
