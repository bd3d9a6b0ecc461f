"""Versions, the repository's revision and the digest of a learner's source."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from starprompt.machine import environment


def test_versions_name_the_libraries_that_are_loaded() -> None:
    found = environment.versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] in torch.__version__
    assert found["numpy"] == np.__version__
    assert set(environment.PACKAGES) < set(found)


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_says_when_tracked_files_differ(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("1")
    _git(tmp_path, "init")
    assert environment.git_revision.__wrapped__(package) == "unknown"  # nothing tracked there
    _git(tmp_path, "add", "package/a.py")
    _git(tmp_path, "commit", "-m", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert environment.git_revision.__wrapped__(package) == commit
    (package / "new.py").write_text("not tracked")
    assert environment.git_revision.__wrapped__(package) == commit
    (package / "a.py").write_text("2")
    assert environment.git_revision.__wrapped__(package) == commit + "-dirty"


def test_the_revision_is_unknown_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment.git_revision.__wrapped__(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert environment.git_revision.__wrapped__(Path(__file__).parent) == "unknown"


def test_the_source_digest_follows_imports_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "toy_methods"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from .shared import helper\nimport numpy\n")
    (package / "shared.py").write_text("def helper(): ...\n")
    (package / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = environment.source_digest("toy_methods.mine")
    assert first == environment.source_digest("toy_methods.mine")
    (package / "other.py").write_text("x = 2\n")
    assert environment.source_digest("toy_methods.mine") == first
    (package / "shared.py").write_text("def helper(): return 1\n")
    assert environment.source_digest("toy_methods.mine") != first
