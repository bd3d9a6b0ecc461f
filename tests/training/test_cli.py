"""`starprompt check` names each mistake in one sentence, and takes what is shipped."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from starprompt.errors import UserError
from starprompt.training.cli import gpus_of
from tests.helpers.paths import REPOSITORY

GOOD = {
    "name": "try",
    "title": "A try",
    "datasets": ["digits"],
    "methods": ["starprompt"],
    "seeds": [1993],
}


def starprompt(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "starprompt.cli", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def check(folder: Path, text: str) -> str:
    """The one sentence that `check` says of a configuration, which it must refuse."""
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    done = starprompt("check", "--config", str(file))
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"datasets": ["digit"]}, ["digit", "digits"]),
        ({"methods": ["starpromt"]}, ["starpromt", "'starprompt'"]),
        ({"backbones": {"vit": "tinny"}}, ["tinny"]),
        ({"backbones": {"clip": "ViT-L-41/openai"}}, ["ViT-L-41", "ViT-L-14"]),
        ({"seeds": ["a"]}, ["seeds.0", "integer", "config.yaml"]),
        ({"seeds": [1.5]}, ["seeds.0", "integer"]),
        ({"sedes": [1]}, ["sedes", "no such key"]),
        ({"threads": "many"}, ["threads", "integer"]),
        ({"methods": ["joint", "joint"]}, ["methods", "twice"]),
        ({"numerics": "portable"}, ["portable", "device: cpu"]),
        ({"numerics": "portable", "device": "cpu", "threads": 2}, ["portable", "threads: 1"]),
        ({"numerics": "portable", "device": "cpu", "compile": True}, ["compile: false"]),
        ({"deterministic": True, "precision": "tf32"}, ["deterministic", "precision: float32"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named(change: dict, named: list[str], tmp_path: Path) -> None:
    said = check(tmp_path, yaml.safe_dump(GOOD | change))
    for word in named:
        assert word in said


def test_yaml_that_is_none_is_named(tmp_path: Path) -> None:
    said = check(tmp_path, "name: [try\n")
    assert "config.yaml" in said
    assert "line" in said


def test_all_shipped_experiments_are_good() -> None:
    """Every method of every experiment: its file, its learner, its hyperparameters."""
    files = sorted((REPOSITORY / "config").glob("*.yaml"))
    assert len(files) >= 4
    for file in files:
        done = starprompt("check", "--config", f"config/{file.name}")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("", 0),
        ("gpu", 1),
        ("gpu:2", 2),
        ("gpu:h100", 1),
        ("gpu:a100_1g.5gb:3", 3),
        ("nvme:1,gpu:fake:2", 2),
        ("nvme:4", 0),
    ],
)
def test_gpus_are_counted_among_generic_resources(gres: str, gpus: int) -> None:
    assert gpus_of(gres) == gpus


@pytest.mark.parametrize("gres", ["gpu:", "gpu:h100:two", "gpu=2", "gpu:1:1", "gpu:99999"])
def test_a_generic_resource_of_another_form_is_refused(gres: str) -> None:
    with pytest.raises(UserError, match="no generic resource"):
        gpus_of(gres)
