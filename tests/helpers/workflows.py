"""Workflows in a copy of the repository whose command line makes up its numbers (``fake_cli``)."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.helpers.calls import environment, start_workflow
from tests.helpers.paths import HELPERS, REPOSITORY

CONFIG = {
    "name": "small",
    "title": "A small grid",
    "datasets": ["digits"],
    "methods": ["starprompt", "joint"],
    "seeds": [1993, 1996],
}


def copy_of_repository(folder: Path) -> Path:
    """What the workflow needs, with the made-up command line."""
    for name in ("config", "workflow", "starprompt", "paper_figures"):
        ignored = shutil.ignore_patterns("*.safetensors", "__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    shutil.copy(HELPERS / "fake_cli.py", folder / "starprompt" / "cli.py")
    (folder / "config" / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(REPOSITORY),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )


def planned(output: str) -> dict[str, int]:
    """Jobs by rule, as a dry run counts them; those with keys are training's."""
    if "Nothing to be done" in output:
        return {}
    table = output.split("Job stats:")[-1]
    counts = re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)
    assert counts, output
    jobs = Counter[str]()
    for rule, count in counts:
        jobs[re.sub("^train_(with_)?keys", "train", rule)] += int(count)
    del jobs["total"]
    return dict(jobs)


def trained(output: str) -> set[tuple[str, str]]:
    """(method, seed) of the runs that a dry run would do."""
    return {
        (method, seed)
        for method, several in re.findall(
            r"cli run .* --method ([\w-]+) ((?:--seed \d+ )+)", output
        )
        for seed in re.findall(r"\d+", several)
    }


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The small grid."""
    return start_workflow(folder, REPOSITORY, "--configfile", "config/small.yaml")


def edit(path: Path, change: Callable[[dict], object]) -> str:
    """Change a YAML file; return what it was."""
    before = path.read_text()
    value = yaml.safe_load(before)
    change(value)
    path.write_text(yaml.safe_dump(value))
    return before
