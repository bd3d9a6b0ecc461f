"""The campaign for GPUs: all stages at small size, and of the large size what a CPU can show."""

import importlib.util
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from starprompt.backbones import clip
from starprompt.backbones.names import parse_clip
from starprompt.config.experiment import load_config
from starprompt.training.run import check
from tests.helpers.paths import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"
PAPER = REPOSITORY / "config" / "paper.yaml"
SCRIPT = BENCHMARKS / "gpu_campaign.py"
#: those of the large size, whose names the parameters of a test need before any fixture
LARGE = (
    "first_stage_epoch",
    "head_alignment",
    "input_path",
    "matmul_ceiling",
    "second_stage_step",
    "training_speed",
)


def campaign(out: Path, *arguments: str) -> tuple[int, dict[str, dict[str, object]], str]:
    """Exit status, what each stage found, and the last line."""
    command = [sys.executable, str(SCRIPT), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads((out / "gpu_campaign.json").read_text())
    return done.returncode, found, done.stdout.splitlines()[-1]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, as if there were a GPU."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu_campaign", SCRIPT)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    monkeypatch.setattr(found, "CUDA", True)
    return found


def test_stages_run_where_there_is_no_gpu(tmp_path: Path) -> None:
    chosen = ("device", "stream", "resumed", "fast", "bf16", "shares", "leases")
    status, found, last = campaign(tmp_path, "--only", *chosen)
    assert {name: stage.get("failed") for name, stage in found.items()} == dict.fromkeys(chosen)
    assert status == 0
    assert json.loads(last)["failed"] == []
    results: dict[str, Any] = {name: stage["found"] for name, stage in found.items()}
    assert results["resumed"] == {"equal bytes": True, "attempts": 2}
    assert results["device"]["type"] == "cpu"
    # on a CPU `deterministic` changes nothing, so that a difference would be of another setting
    assert results["fast"]["accuracy moved, points"] == 0.0
    assert json.loads(last)["ratio"] == results["fast"]["seconds over deterministic"] > 0
    assert results["bf16"]["seconds over float32"] > 0
    assert results["shares"]["equal bytes"]
    page = (tmp_path / "gpu_campaign.md").read_text()
    assert all(f"| {name} | done |" in page for name in chosen)


def test_what_was_not_reached_is_named(tmp_path: Path) -> None:
    status, found, last = campaign(tmp_path, "--budget", "0", "--only", "device", "leases")
    assert status == 1
    assert json.loads(last)["failed"] == ["device", "leases"]
    assert all("the whole call's time is spent" in str(one["failed"]) for one in found.values())


def test_a_stage_ends_with_the_budget(tmp_path: Path) -> None:
    status, found, _ = campaign(tmp_path, "--budget", "2", "--only", "stream", "leases")
    assert status == 1
    assert str(found["stream"]["failed"]).startswith("longer than ")
    assert found["leases"]["failed"] == "not begun: the whole call's time is spent"


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Hanging:
    """A process that does not end before it is killed, if then."""

    def __init__(self, clock: Clock, stubborn: bool = False) -> None:
        self.clock, self.stubborn, self.killed = clock, stubborn, False

    def communicate(self, timeout: float) -> tuple[str, None]:
        self.wait(timeout)
        return "so far", None

    def wait(self, timeout: float) -> int:
        if not self.killed or self.stubborn:
            self.clock.sleep(timeout)
            raise subprocess.TimeoutExpired("a process", timeout)
        return -9

    def poll(self) -> None:
        return None

    def send_signal(self, number: int) -> None: ...

    def kill(self) -> None:
        self.killed = True


def hung(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, budget: int, stubborn: bool
) -> tuple[float, dict[str, dict[str, Any]]]:
    """Seconds that the call takes where every process hangs, and what it says of the stages."""
    clock = Clock()
    processes = SimpleNamespace(
        Popen=lambda *arguments, **options: Hanging(clock, stubborn),
        **{name: getattr(subprocess, name) for name in ("PIPE", "STDOUT", "TimeoutExpired")},
    )
    monkeypatch.setattr(module, "subprocess", processes)
    monkeypatch.setattr(module, "time", clock)
    record = {
        "times": [{"train": 1e6, "end": 0, "evaluate": 0, "steps": 1, "step_operations": 1}] * 2,
        "metrics": {"final_average_accuracy": 1},
        "peak_memory_bytes": 1,
        "attempts": 1,
    }
    monkeypatch.setattr(module.Campaign, "record", lambda campaign, name: record)
    one_process = [n for n in (*module.STAGES, *LARGE) if n not in ("shares", "leases")]
    arguments = ["--out", str(out), "--budget", str(budget), "--only", *one_process]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    before = clock.now
    assert module.main() == 1
    return clock.now - before, json.loads((out / "gpu_campaign.json").read_text())


@pytest.mark.parametrize("stubborn", [False, True], ids=["killed", "never ends"])
def test_no_stage_passes_the_budget_however_its_processes_hang(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stubborn: bool
) -> None:
    limits = module.STAGES | module.BENCHMARKS
    grace = module.GRACE if stubborn else 0
    for budget in (1, 100, 400, 10_000):
        took, found = hung(module, monkeypatch, tmp_path, budget, stubborn)
        assert took <= budget + grace + 1e-6
        assert all(stage["failed"] for stage in found.values())
        assert all(stage["took"] <= limits[n] + grace + 1e-6 for n, stage in found.items())
    assert not any(stage["failed"].startswith("not begun") for stage in found.values())


def test_the_whole_call_takes_less_than_ten_minutes(module: ModuleType) -> None:
    """With 20 s for imports and for writing what was found."""
    assert module.BUDGET + module.GRACE + 20 < 600


def test_the_runs_for_gpus_are_experiments(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module.make_workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    configs = {name: load_config(Path(f"config/{name}.yaml")) for name in module.RUNS}
    for config in configs.values():
        check(config)  # names of networks, their sizes against the views, hyperparameters
        assert (config.device, config.gpu) == ("cuda", 1)
        assert config.backbones.clip.startswith("ViT-L-14")

    def beside_stream(name: str) -> dict[str, Any]:
        own, stream = configs[name].model_dump(), configs["stream"].model_dump()
        return {k: v for k, v in own.items() if v != stream[k] and k not in ("name", "title")}

    assert configs["stream"].deterministic
    assert beside_stream("again") == beside_stream("resumed") == {}
    assert beside_stream("fast") == {"deterministic": False}
    assert beside_stream("bf16") == {"deterministic": False, "precision": "bf16"}
    assert beside_stream("share-a") == beside_stream("share-b") == {"runs_per_gpu": 2}
    assert isinstance(configs["stream"].micro_batch, int), "auto would differ on half a device"


def test_the_benchmarks_for_gpus_are_the_ones_that_are_tried(module: ModuleType) -> None:
    assert sorted(module.BENCHMARKS) == list(LARGE)
    assert module.ARGUMENTS.keys() <= module.BENCHMARKS.keys()


def test_the_speed_of_methods_is_measured_for_some_of_the_grid(module: ModuleType) -> None:
    option, *methods = module.ARGUMENTS["training_speed"]
    assert option == "--methods"
    assert {"starprompt", *methods} <= set(load_config(PAPER).methods)


class ReachedError(Exception):
    """A large network would be loaded now."""


@pytest.mark.skipif(torch.cuda.is_available(), reason="the campaign itself runs them there")
@pytest.mark.parametrize("name", LARGE)
def test_a_benchmark_for_gpus_gets_as_far_as_the_device(
    name: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Called as the campaign calls it, in another folder, and with a GPU by torch's word."""

    def load_clip(model: str, device: torch.device, **options: Any) -> None:
        parse_clip(model)
        assert torch.device(device).type == "cuda"
        raise ReachedError(f"{model} would go to CUDA")

    monkeypatch.setattr(clip, "load_clip", load_clip)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *module.ARGUMENTS.get(name, ())])
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ReachedError, RuntimeError, AssertionError), match=r"CUDA|NVIDIA"):
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")


def test_the_last_json_is_found_behind_what_libraries_print(module: ModuleType) -> None:
    assert module.found_in('a line\n{"ratio": 1}\nWarning: leaked\n3\n') == {"ratio": 1}
    with pytest.raises(module.StageError, match="no JSON in what it printed: nothing"):
        module.found_in("nothing\n")


@pytest.mark.parametrize(
    ("spans", "gap"),
    [
        ([(0.0, 1.0, "a"), (1.5, 2.0, "a"), (0.2, 0.4, "b")], 0.5),
        ([(0.0, 9.0, "a"), (1.0, 2.0, "b"), (3.0, 4.0, "b")], 1.0),
    ],
)
def test_devices_are_held_one_by_one(
    module: ModuleType, spans: list[tuple[float, float, str]], gap: float
) -> None:
    assert module.held_one_by_one(spans) == {"processes": 3, "longest gap, s": gap}


def test_a_device_held_twice_is_found_behind_another(module: ModuleType) -> None:
    check: Callable[..., Any] = module.held_one_by_one
    with pytest.raises(module.StageError, match="held the device together"):
        check([(0.0, 9.0, "a"), (1.0, 2.0, "b"), (3.0, 4.0, "a")])
