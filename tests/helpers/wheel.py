"""A wheel of the package, really installed, beside the libraries that are here already."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.helpers.paths import REPOSITORY

#: what is built: a build in the checkout itself would leave files there
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "Snakefile",
    "starprompt",
    "baselines",
    "paper_figures",
    "config",
    "workflow",
)


class Installed:
    """An environment of its own into which the wheel is installed."""

    def __init__(self, folder: Path) -> None:
        self.wheel = build_wheel(folder)
        self.environment = folder / "environment"
        venv.create(self.environment, symlinks=True)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.packages = self.environment / "lib" / version / "site-packages"
        # Libraries alone: an editable install works through a .pth file, and one that stands in a
        # folder named by another is not read.
        libraries = sysconfig.get_paths()["purelib"]
        (self.packages / "shared.pth").write_text(f"{libraries}\n", encoding="utf-8")
        python = str(self.environment / "bin/python")
        _call("-m", "pip", "--python", python, "install", "--no-deps", "--quiet", str(self.wheel))

    def run(self, folder: Path, *command: str, status: int = 0) -> str:
        """What a command of the environment prints in ``folder``, where no checkout is near."""
        kept = {k: v for k, v in os.environ.items() if k.startswith(("HOME", "LANG", "LC_", "TMP"))}
        done = subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=folder,
            env={**kept, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == status, done.stdout[-6000:]
        return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the sources; return its path."""
    source = folder / "source"
    source.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, source / name)
    _call("-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(folder / "dist"), str(source))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def _call(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
