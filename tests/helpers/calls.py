"""The project's commands in a folder of a test's own, as if nothing had been set outside."""

import os
import subprocess
import sys
from pathlib import Path


def environment(python_path: Path) -> dict[str, str]:
    """Without what a caller says of data, leases and Snakemake; with modules of ``python_path``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STARPROMPT", "SNAKEMAKE"))}
    return kept | {"PYTHONPATH": str(python_path)}


def start_workflow(folder: Path, python_path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The workflow as `make` starts it, in a process group of its own; says all in workflow.log."""
    return subprocess.Popen(
        [sys.executable, "-m", "starprompt.grid.snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env=environment(python_path),
        stdout=(folder / "workflow.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
