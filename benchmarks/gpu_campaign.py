"""Everything that needs a GPU, in one call of under ten minutes: a JSON file and a Markdown page.

    python benchmarks/gpu_campaign.py          # a GPU at full size; a CPU at small size, a minute
    python benchmarks/gpu_campaign.py --out FOLDER --only stream resumed

Each stage has its own time limit, so one that fails or hangs does not delay the others:

    device      what it is, what it can do
    stream      STAR-Prompt over all tasks of the digits, ViT-B/16 and ViT-L/14 of random weights
    again       the same run once more: equal byte for byte, as `deterministic: true` promises
    resumed     the same run, ended by SIGTERM within a task and called again: equal byte for byte
    fast        the same run without `deterministic`: its cost, and how much results change
    shares      two runs at once on half a device each: equal results, and the cost of sharing
    leases      six processes request the whole device: no two ever hold it at once
    BENCHMARK   the benchmarks of this folder that have a size for GPUs

On a CPU the tiny pair replaces the networks, the device is simulated (`machine/gpus.py`), and one
benchmark runs. A failed stage is named in both files and makes the exit status 1. The last line is
JSON; ``ratio`` is the fast run's seconds over the deterministic one's.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from _timing import report

from starprompt.machine import devices, gpus, leases

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CUDA = torch.cuda.is_available()
#: benchmarks with a size for GPUs, and the seconds that each may take there
BENCHMARKS = {
    "matmul_ceiling": 60,
    "second_stage_step": 60,
    "first_stage_epoch": 60,
    "head_alignment": 40,
    "mixture": 40,
    "retrieval": 30,
    "input_path": 60,
    "training_speed": 120,
}
SMALL = ("retrieval",)
METHOD = "campaign"
DATASET = "campaign"
HOLD = 0.3  # seconds that each process of the stage ``leases`` keeps the device


class StageError(Exception):
    """A stage did not show what it is for; the text says why."""


def make_workplace(folder: Path) -> None:
    """Configurations of short runs, in ``folder``, beside those of the repository."""
    for kind in ("datasets", "methods"):
        (folder / "config" / kind).mkdir(parents=True)
        for file in (ROOT / "config" / kind).glob("*.yaml"):
            (folder / "config" / kind / file.name).symlink_to(file)
    size = 224 if CUDA else 64
    dataset = yaml.safe_load((ROOT / "config/datasets/digits.yaml").read_text())
    dataset |= {"name": DATASET, "title": "Digits, large", "image_size": size}
    dataset["sources"][0]["format"]["size"] = size
    dataset["train_transform"][0]["size"] = size
    write(folder / "config/datasets" / f"{DATASET}.yaml", dataset)
    method = {
        "extends": "starprompt",
        "title": "STAR-Prompt, short",
        "keys": None,
        "hyperparameters": {
            "key_source": "template",
            "epochs": 2,
            "em_iterations": 20,
            "replay_epochs": 2,
            "replay_epochs_per_task": 0,
        },
    }
    write(folder / "config/methods" / f"{METHOD}.yaml", method)
    large = {"clip": "ViT-L-14/random", "vit": "vit_base_patch16_224/random"}
    for name in ("stream", "again", "resumed", "fast", "share-a", "share-b"):
        experiment = {
            "name": name,
            "title": name,
            "datasets": [DATASET],
            "methods": [METHOD],
            "seeds": [1993],
            "backbones": large if CUDA else {"clip": "tiny", "vit": "tiny"},
            "device": "cuda" if CUDA else "cpu",
            "precision": "bf16" if CUDA else "float32",
            "deterministic": name != "fast",
            "threads": 4 if CUDA else 1,
            "gpu": 1,
            "runs_per_gpu": 2 if name.startswith("share") else 1,
        }
        write(folder / "config" / f"{name}.yaml", experiment)


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content))


class Campaign:
    """The stages, by name; each returns its numbers."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        environ = {**os.environ, "STARPROMPT_DATA": str(data), leases.FOLDER: str(folder / "locks")}
        environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.environ = environ if CUDA else {**environ, gpus.FAKE: "1"}

    def command(self, name: str) -> list[str]:
        run = ["run", "--config", f"config/{name}.yaml", "--dataset", DATASET, "--method", METHOD]
        return [sys.executable, "-m", "starprompt.cli", *run, "--seed", "1993"]

    def call(self, command: list[str], seconds: float) -> str:
        """What a command prints; StageError with its last lines if it fails or takes longer."""
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise StageError(f"longer than {seconds:.0f} s") from None
        if done.returncode:
            raise StageError(f"status {done.returncode}: {done.stdout.strip()[-400:]}")
        return done.stdout

    def record(self, name: str) -> dict[str, Any]:
        (path,) = self.folder.glob(f"results/runs/{name}/{DATASET}/{METHOD}/seed1993/record.json")
        return json.loads(path.read_text())  # type: ignore[no-any-return]

    def summary(self, name: str) -> dict[str, Any]:
        """A run's numbers."""
        record = self.record(name)
        times = record["times"]
        seconds = sum(task["train"] for task in times)
        operations = sum(task["steps"] * task["step_operations"] for task in times)
        return {
            "final accuracy": record["metrics"]["final_average_accuracy"],
            "training seconds": seconds,
            "ends seconds": sum(task["end"] for task in times),
            "evaluation seconds": sum(task["evaluate"] for task in times),
            "TFLOP/s in steps": operations / seconds / 1e12,
            "peak memory, GB": record["peak_memory_bytes"] / 1e9,
            "attempts": record["attempts"],
        }

    def same_bytes(self, name: str) -> None:
        """StageError unless a run's predictions are those of ``stream``."""
        if self.record(name)["digests"] != self.record("stream")["digests"]:
            raise StageError("the results differ from those of the stage stream")

    # --- stages

    def device(self) -> dict[str, Any]:
        found = devices.describe_device(torch.device("cuda" if CUDA else "cpu"))
        return {**found, "torch": torch.__version__, "cuda": torch.version.cuda}

    def stream(self) -> dict[str, Any]:
        cli = [sys.executable, "-m", "starprompt.cli"]
        self.call([*cli, "data", "prepare", DATASET], 60)
        config = ["--config", "config/stream.yaml"]
        self.call([*cli, "embed", *config, "--dataset", DATASET], 90)
        self.call(self.command("stream"), 150)
        return self.summary("stream")

    def again(self) -> dict[str, Any]:
        self.call(self.command("again"), 150)
        self.same_bytes("again")
        return {"equal bytes": True}

    def resumed(self) -> dict[str, Any]:
        run = subprocess.Popen(
            self.command("resumed"),
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        work = self.folder / f"results/runs/resumed/{DATASET}/{METHOD}/seed1993/work"
        started = time.monotonic()
        try:
            # after its first task, in the middle of a later one
            while not any(work.glob("task-*")) and run.poll() is None:
                if time.monotonic() - started > 120:
                    raise StageError("no task ended within 120 s")
                time.sleep(0.02)
            time.sleep(0.5 * self.record("stream")["times"][1]["train"])
            run.send_signal(signal.SIGTERM)
            status = run.wait(60)
        finally:
            run.kill()
            run.wait()
        if status != 128 + signal.SIGTERM:
            raise StageError(f"SIGTERM ended it with status {status}")
        self.call(self.command("resumed"), 150)
        self.same_bytes("resumed")
        return {"equal bytes": True, "attempts": self.record("resumed")["attempts"]}

    def fast(self) -> dict[str, Any]:
        self.call(self.command("fast"), 150)
        found, exact = self.summary("fast"), self.summary("stream")
        return {
            **found,
            "seconds over deterministic": found["training seconds"] / exact["training seconds"],
            "accuracy moved, points": found["final accuracy"] - exact["final accuracy"],
        }

    def shares(self) -> dict[str, Any]:
        names = ("share-a", "share-b")
        started = time.monotonic()
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda name: self.call(self.command(name), 200), names))
        elapsed = time.monotonic() - started
        for name in names:
            self.same_bytes(name)
        alone = self.summary("stream")["training seconds"]
        together = max(self.summary(name)["training seconds"] for name in names)
        return {"equal bytes": True, "seconds": elapsed, "training over alone": together / alone}

    def leases(self) -> dict[str, Any]:
        """Each process says when it had the device, on the machine's one clock."""
        program = (
            "import json, time\n"
            "from starprompt.machine import leases\n"
            "held = leases.lease(1, 1, 'campaign')\n"
            "import torch\n"
            "if torch.cuda.is_available(): torch.ones(1, device='cuda').sum().item()\n"
            "begin = time.monotonic()\n"
            f"time.sleep({HOLD})\n"
            "print(json.dumps([begin, time.monotonic(), held.devices[0]]))\n"
        )
        call = partial(self.call, [sys.executable, "-c", program], 120)
        with ThreadPoolExecutor() as threads:
            printed = list(threads.map(lambda _: call(), range(6 if CUDA else 3)))
        spans = sorted(tuple(json.loads(text.splitlines()[-1])) for text in printed)
        for (_, end, one), (begin, _, other) in itertools.pairwise(spans):
            if begin < end and one == other:
                raise StageError("two processes held the device together")
        waited = [begin - end for (_, end, _), (begin, _, _) in itertools.pairwise(spans)]
        return {"processes": len(spans), "longest gap, s": max(waited)}

    def benchmark(self, name: str) -> dict[str, Any]:
        printed = self.call([sys.executable, str(HERE / f"{name}.py")], BENCHMARKS[name])
        return json.loads(printed.splitlines()[-1])  # type: ignore[no-any-return]


def page(found: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown: one line a stage, its numbers below."""
    lines = ["# A campaign on one device", "", "| stage | | seconds |", "|:--|:--|--:|"]
    for name, stage in found.items():
        lines.append(f"| {name} | {stage.get('failed') or 'done'} | {stage['took']:.1f} |")
    for name, stage in found.items():
        if "failed" not in stage:
            lines += ["", f"## {name}", ""]
            lines += [f"* {what}: {shown(value)}" for what, value in stage["found"].items()]
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n"


def shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for gpu_campaign.json and .md")
    parser.add_argument("--only", nargs="*", help="names of stages; `stream` is made for most")
    parser.add_argument("--budget", type=float, default=560, help="seconds; later stages are left")
    options = parser.parse_args()
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_workplace(folder)
        campaign = Campaign(folder, folder / "data")
        stages: dict[str, Callable[[], dict[str, Any]]] = {
            name: getattr(campaign, name)
            for name in ("device", "stream", "again", "resumed", "fast", "shares", "leases")
        }
        stages |= {
            name: partial(campaign.benchmark, name) for name in (BENCHMARKS if CUDA else SMALL)
        }
        unknown = set(options.only or ()) - stages.keys()
        if unknown:
            parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(stages)}")
        for name, stage in stages.items():
            if options.only and name not in options.only:
                continue
            start = time.monotonic()
            entry: dict[str, Any] = {}
            try:
                if start - began > options.budget:
                    raise StageError(f"left: the {options.budget:.0f} s are spent")
                entry["found"] = stage()
            except StageError as error:
                entry["failed"] = str(error)
            except Exception as error:  # the others still run
                entry["failed"] = f"{type(error).__name__}: {error}"
            found[name] = {**entry, "took": time.monotonic() - start}
            print(
                f"{name}: {entry.get('failed') or 'done'}, {found[name]['took']:.1f} s", flush=True
            )
    text = page(found)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu_campaign.json").write_text(json.dumps(found, indent=1, default=str))
        (options.out / "gpu_campaign.md").write_text(text)
    else:
        print(text)
    failed = [name for name, stage in found.items() if "failed" in stage]
    ratio = found.get("fast", {}).get("found", {}).get("seconds over deterministic", 0.0)
    report("gpu_campaign", ratio, seconds=time.monotonic() - began, failed=failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
