"""Versions, the repository's revision and the digest of a learner's source."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy
import sklearn
import torch

from starprompt.machine import environment


def test_versions_name_the_libraries_that_are_loaded() -> None:
    found = environment.versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] in torch.__version__
    assert found["numpy"] == np.__version__
    assert set(environment.PACKAGES) < set(found)


def test_fingerprints_name_the_libraries_that_they_always_named() -> None:
    """Another name would make every finished run one of other libraries."""
    named = ["python", "starprompt", "torch", "torchvision", "timm", "open_clip_torch", "numpy"]
    assert list(environment.versions()) == named


def test_records_name_scipy_and_scikit_learn_beside_them() -> None:
    found = environment.recorded_versions()
    assert found["scipy"] == scipy.__version__
    assert found["scikit-learn"] == sklearn.__version__
    assert environment.versions().items() < found.items()


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


METHOD = '''"""What it is."""
from .shared import helper

class Learner:
    """Learns."""

    rate = 0.1  # of learning

    def step(self):
        """One step."""
        return helper(self.rate)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toy_sources"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "mine.py").write_text(METHOD)
    (folder / "shared.py").write_text("def helper(x): return x\n")
    (folder / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def source_of(package: Path) -> str:
    return environment.method_source.__wrapped__(f"{package.name}.mine")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# of learning", "# another comment", True),
        ("Learns.", "Learns well.", True),
        ("What it is.", "Another thing.", True),
        ("One step.", "A step.", True),
        ("    rate = 0.1", "\n\n    rate = (0.1)", True),
        ("0.1", "0.2", False),
        ("helper(self.rate)", "helper(-self.rate)", False),
        ('"""One step."""', "pass", False),
    ],
)
def test_a_method_s_source_is_its_code_alone(package: Path, old: str, new: str, same: bool) -> None:
    before = source_of(package)
    assert old in METHOD
    (package / "mine.py").write_text(METHOD.replace(old, new))
    assert (source_of(package) == before) is same


def test_a_method_s_source_follows_what_it_imports(package: Path) -> None:
    before = source_of(package)
    (package / "other.py").write_text("x = 2\n")
    assert source_of(package) == before
    (package / "shared.py").write_text("def helper(x): return 2 * x\n")
    assert source_of(package) != before


def test_a_method_s_source_is_of_the_folders_below_it() -> None:
    """Leases, records and tables may change; replay, backbones and the loop may not."""
    names = {
        name
        for name in environment._sources("starprompt.method.starprompt")
        if any(name.startswith(folder) for folder in environment.METHOD_FOLDERS)
    }
    assert {
        "starprompt.method.starprompt",
        "starprompt.replay.mixture",
        "starprompt.backbones.prompted_vit",
        "starprompt.continual.task_loop",
        "starprompt.data.transforms",
        "starprompt.precision",
    } <= names
    assert not any(name.startswith(("starprompt.machine", "starprompt.record")) for name in names)
    assert environment.method_source("starprompt.method.starprompt") != environment.method_source(
        "baselines.finetune"
    )


def test_a_script_s_own_learner_has_no_source() -> None:
    assert environment.method_source("__main__") == ""
    assert environment.method_source("starprompt.no_such_module") == ""
