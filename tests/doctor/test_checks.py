"""`starprompt doctor`: what each check says, and that none of them hangs."""

import json
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from starprompt.config.experiment import Config, load_config
from starprompt.doctor import checks
from starprompt.doctor.checks import Finding, as_json, as_text, examine, limited
from starprompt.machine import kernels


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    demo = load_config(Path("config/demo.yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return demo


def facts(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    known = {
        "version": "2.8.0",
        "built": "12.8",
        "cuda": False,
        "kernels": "AVX2",
        "devices": [],
    }
    monkeypatch.setattr(checks, "_torch_facts", lambda: known | changes)


def one(name: str, config: Config) -> Finding:
    return limited(name, checks.CHECKS[name], config, 60)


def test_the_demo_can_run_here(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    facts(monkeypatch)
    findings = list(examine(config))
    assert [finding.name for finding in findings] == list(checks.CHECKS)
    assert [finding for finding in findings if finding.state == "wrong"] == []
    assert json.loads(as_json(findings))[0]["name"] == "Python"


def test_a_check_that_hangs_is_given_up(config: Config) -> None:
    never = threading.Event()

    def hang(_: Config) -> Finding:
        never.wait()
        raise AssertionError

    found = limited("disk", hang, config, 0.05)
    never.set()
    assert (found.state, found.name) == ("wrong", "disk")
    assert "no answer" in found.found and found.advice


def test_an_error_of_a_check_is_a_finding(config: Config) -> None:
    def fail(_: Config) -> Finding:
        raise RuntimeError("no\nluck")

    assert limited("x", fail, config, 5).found == "the check failed: no luck"


@pytest.mark.parametrize(
    ("changes", "device", "gpu", "state"),
    [
        ({}, "auto", 0, "ok"),
        ({}, "cuda", 1, "wrong"),
        ({"built": None}, "cuda", 1, "wrong"),
        ({"cuda": True, "devices": ["H100 (80 GiB)"]}, "cuda", 1, "ok"),
    ],
)
def test_cuda(
    changes: dict, device: str, gpu: int, state: str, config: Config, monkeypatch
) -> None:
    facts(monkeypatch, **changes)
    assert one("CUDA", config.model_copy(update={"device": device, "gpu": gpu})).state == state


@pytest.mark.parametrize(
    ("here", "asked", "state"),
    [("0", 0, "ok"), ("0", 1, "note"), ("1", 2, "wrong"), ("2", 1, "ok")],
)
def test_gpus(here: str, asked: int, state: str, config: Config, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("STARPROMPT_FAKE_DEVICES", here)
    assert one("GPUs", config.model_copy(update={"device": "auto", "gpu": asked})).state == state


@pytest.mark.parametrize(
    ("machine", "asked", "state", "found"),
    [
        ("aarch64", "portable", "wrong", "portable; portable is for x86-64 processors, and this"),
        ("aarch64", "native", "ok", "native; portable is for x86-64 processors, and this is aarch"),
        ("x86_64", "portable", "ok", "portable; portable is possible here"),
    ],
)
def test_numerics(
    machine: str, asked: str, state: str, found: str, config: Config, monkeypatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(kernels, "system_flags", lambda: {"avx2", "fma"})
    monkeypatch.setattr(kernels, "numpy_features", lambda: {"X86_V3"})
    finding = one("numerics", config.model_copy(update={"numerics": asked}))
    assert (finding.state, finding.found[: len(found)]) == (state, found)
    assert bool(finding.advice) == (state == "wrong")


def test_a_disk_too_small_is_wrong(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert one("disk", config).state == "wrong"


def test_missing_weights_and_data_name_the_command(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARPROMPT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    paper = load_config(Path("config/paper.yaml"))
    found = one("weights", paper)
    assert found.state == "note"
    assert found.advice.startswith("starprompt weights download ViT-L-14")
    assert "starprompt data where" in one("data", paper).advice


def test_torch_that_fails_is_one_sentence(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: no libcudart\n")
    monkeypatch.setattr(checks, "_torch_facts", checks._Torch())
    monkeypatch.setattr(checks.subprocess, "run", lambda *_, **__: broken)
    found = one("torch", config)
    assert found.state == "wrong"
    assert "ImportError: no libcudart" in found.found


def test_an_unreached_hub_is_a_note(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(checks, "HUB", ("127.0.0.1", 9))
    found = one("hub", config)
    assert found.state == "note"
    assert "starprompt weights where" in found.advice


def test_sinfo_that_fails_is_a_note(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sinfo"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert one("SLURM", config).advice.endswith("`starprompt submit --local` runs here")


def test_lines_fit_eighty_columns() -> None:
    text = as_text(Finding("weights", "note", "word " * 40, "do this"))
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("note  weights     word")
    assert text.endswith("→ do this")
