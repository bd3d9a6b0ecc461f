"""A machine with GPUs that are not there."""

import os
import stat
from pathlib import Path

import pytest

from tests.helpers.gpu_listing import LISTING


@pytest.fixture()
def with_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose ``nvidia-smi`` lists three GPUs, one of them cut in two."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
