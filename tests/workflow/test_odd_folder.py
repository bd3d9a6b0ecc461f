"""A checkout, with its environment, in a folder whose name needs quoting everywhere."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.helpers.calls import environment
from tests.helpers.paths import REPOSITORY
from tests.helpers.workflows import copy_of_repository

NAME = 'it\'s {x} "q" (1) ü $HOME; a&b'
CONFIG = ("--configfile", "config/small.yaml")


def test_the_grid_runs_where_the_folders_name_needs_quotes(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    copy_of_repository(folder)
    venv.create(folder / ".venv", symlinks=True)
    python = folder / ".venv/bin/python"
    packages = folder / ".venv/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    here = sysconfig.get_paths()["purelib"]
    (packages / "site-packages" / "shared.pth").write_text(f"{here}\n", encoding="utf-8")
    done = subprocess.run(
        [python, "-m", "starprompt.grid.snakemake", "--cores", "2", *CONFIG],
        cwd=folder,
        env={**environment(REPOSITORY), "PATH": "/usr/bin:/bin"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (folder / "results/small/tables/accuracy.md").is_file()
    assert (folder / "calls.log").read_text().count("run ") == 6
