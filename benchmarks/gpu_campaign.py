"""Everything that needs a GPU, in one call of under ten minutes: a JSON file and a Markdown page.

    python benchmarks/gpu_campaign.py          # a GPU at full size; a CPU at small size, a minute
    python benchmarks/gpu_campaign.py --out FOLDER --only stream resumed

Each stage has a time limit of its own, which never passes what is left of the whole call's:

    device      what it is, what it can do
    stream      STAR-Prompt over all tasks of the digits, ViT-B/16 and ViT-L/14 of random weights,
                in float32, as `deterministic: true` needs
    again       the same run once more: equal byte for byte, as `deterministic: true` promises
    resumed     the same run, ended by SIGTERM within a task and called again: equal byte for byte
    fast        the same run without `deterministic`: its cost, and how much results change
    bf16        the run of `fast` in bfloat16, as runs on GPUs usually are: its gain
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
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from _timing import report

from starprompt.machine import gpus, leases

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CUDA = torch.cuda.is_available()
#: seconds from the call until its last stage is over
BUDGET = 560
#: seconds that each stage may take at most
STAGES = {
    "device": 60,
    "stream": 180,
    "again": 120,
    "resumed": 180,
    "fast": 120,
    "bf16": 120,
    "shares": 200,
    "leases": 120,
}
#: benchmarks with a size for GPUs, the quickest first, and the seconds that each may take there
BENCHMARKS = {
    "head_alignment": 40,
    "matmul_ceiling": 60,
    "input_path": 60,
    "second_stage_step": 60,
    "first_stage_epoch": 60,
    "training_speed": 120,
}
#: what a benchmark is called with; all 35 methods of the paper's grid would take its time and more
ARGUMENTS = {
    "training_speed": [
        *("--methods", "starprompt", "starprompt-first-stage", "finetune", "linear-probe"),
        *("l2p", "coda-prompt", "slca"),
    ],
}
#: the one that a CPU runs
SMALL = {"retrieval": 30}
#: runs of this campaign, by name: what they have beside the rest
EXACT = {"precision": "float32", "deterministic": True}
RUNS: dict[str, dict[str, Any]] = {
    "stream": EXACT,
    "again": EXACT,
    "resumed": EXACT,
    "share-a": EXACT | {"runs_per_gpu": 2},
    "share-b": EXACT | {"runs_per_gpu": 2},
    "fast": {"precision": "float32"},
    "bf16": {"precision": "bf16"},
}
METHOD = "campaign"
DATASET = "campaign"
#: seconds that a killed process has to end; the last one's are beyond the budget
GRACE = 5
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
    large = {"clip": "ViT-L-14-quickgelu/random", "vit": "vit_base_patch16_224/random"}
    for name, own in RUNS.items():
        experiment = {
            "name": name,
            "title": name,
            "datasets": [DATASET],
            "methods": [METHOD],
            "seeds": [1993],
            "backbones": large if CUDA else {"clip": "tiny", "vit": "tiny"},
            "device": "cuda" if CUDA else "cpu",
            "threads": 4 if CUDA else 1,
            "gpu": 1,
            # on half a small card `auto` would split batches otherwise, and so round otherwise
            "micro_batch": 32 if CUDA else "auto",
        }
        write(folder / "config" / f"{name}.yaml", experiment | own)


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content))


def output(command: list[str], seconds: float, **options: Any) -> str:
    """What a command prints on both streams.

    Raises :class:`StageError`, with its last lines, if it fails or takes longer than ``seconds``,
    after which it is killed.
    """
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    try:
        printed, _ = run.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        run.kill()
        try:
            printed, _ = run.communicate(timeout=GRACE)
        except subprocess.TimeoutExpired:
            printed = "it does not end"
        raise StageError(f"longer than {seconds:.0f} s: {last(printed)}") from None
    except BaseException:
        run.kill()
        raise
    if run.returncode:
        raise StageError(f"status {run.returncode}: {last(printed)}")
    return printed


def last(printed: str) -> str:
    """The end of what a command printed, for a message."""
    return printed.strip()[-400:] or "it printed nothing"


def found_in(printed: str) -> Any:
    """The last object or list that a command printed as JSON, whatever libraries print after it."""
    for line in reversed(printed.splitlines()):
        with suppress(ValueError):
            if isinstance(value := json.loads(line), dict | list):
                return value
    raise StageError(f"there is no JSON in what it printed: {last(printed)}")


class Campaign:
    """The stages, by name; each returns its numbers.

    end  of the whole call, on the monotonic clock: no process is waited for beyond it
    """

    def __init__(self, folder: Path, data: Path, end: float) -> None:
        self.folder, self.end, self.until = folder, end, end
        environ = {**os.environ, "STARPROMPT_DATA": str(data), leases.FOLDER: str(folder / "locks")}
        environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.environ = environ if CUDA else {**environ, gpus.FAKE: "1"}

    def begin(self, limit: float) -> None:
        """Begin a stage that may take ``limit`` seconds, or what is left. StageError: nothing."""
        now = time.monotonic()
        if now >= self.end:
            raise StageError("not begun: the whole call's time is spent")
        self.until = min(now + limit, self.end)

    def left(self) -> float:
        """Seconds that the stage has left, more than 0."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise StageError("its time is spent")
        return seconds

    def command(self, name: str) -> list[str]:
        run = ["run", "--config", f"config/{name}.yaml", "--dataset", DATASET, "--method", METHOD]
        return [sys.executable, "-m", "starprompt.cli", *run, "--seed", "1993"]

    def call(self, command: list[str]) -> str:
        """What a command prints within the time that the stage has left."""
        return output(command, self.left(), cwd=self.folder, env=self.environ)

    def record(self, name: str) -> dict[str, Any]:
        path = self.folder / f"results/runs/{name}/{DATASET}/{METHOD}/seed1993/record.json"
        if not path.exists():
            raise StageError(f"there is no finished run {name}, which this stage reads")
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
        """In a process of its own: this one never holds a device."""
        program = (
            "import json, torch\n"
            "from starprompt.machine.devices import describe_device, pick_device\n"
            f"found = describe_device(pick_device({'cuda' if CUDA else 'cpu'!r}))\n"
            "print(json.dumps({**found, 'torch': torch.__version__, 'cuda': torch.version.cuda}))\n"
        )
        return found_in(self.call([sys.executable, "-c", program]))  # type: ignore[no-any-return]

    def stream(self) -> dict[str, Any]:
        self.call([sys.executable, "-m", "starprompt.cli", "data", "prepare", DATASET])
        self.embed("stream")
        self.call(self.command("stream"))
        return self.summary("stream")

    def again(self) -> dict[str, Any]:
        self.call(self.command("again"))
        self.same_bytes("again")
        return {"equal bytes": True}

    def resumed(self) -> dict[str, Any]:
        second = self.record("stream")["times"][1]["train"]
        with tempfile.TemporaryFile("w+") as printed:
            run = subprocess.Popen(
                self.command("resumed"),
                cwd=self.folder,
                env=self.environ,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            work = self.folder / f"results/runs/resumed/{DATASET}/{METHOD}/seed1993/work"
            try:
                # after its first task, in the middle of a later one
                while not any(work.glob("task-*")) and run.poll() is None:
                    time.sleep(min(0.02, self.left()))
                time.sleep(min(0.5 * second, self.left()))
                run.send_signal(signal.SIGTERM)
                status = run.wait(self.left())
            except subprocess.TimeoutExpired:
                raise StageError("SIGTERM did not end it in time") from None
            finally:
                run.kill()
                with suppress(subprocess.TimeoutExpired):
                    run.wait(GRACE)
            printed.seek(0)
            if status != 128 + signal.SIGTERM:
                raise StageError(f"SIGTERM ended it with status {status}: {last(printed.read())}")
        self.call(self.command("resumed"))
        self.same_bytes("resumed")
        return {"equal bytes": True, "attempts": self.record("resumed")["attempts"]}

    def fast(self) -> dict[str, Any]:
        return self.compared("fast", "stream", "deterministic")

    def bf16(self) -> dict[str, Any]:
        self.embed("bf16")
        return self.compared("bf16", "fast", "float32")

    def embed(self, name: str) -> None:
        """Cache CLIP's features in the precision of the experiment ``name``."""
        config = ["--config", f"config/{name}.yaml", "--dataset", DATASET]
        self.call([sys.executable, "-m", "starprompt.cli", "embed", *config])

    def compared(self, name: str, other: str, what: str) -> dict[str, Any]:
        """A run's numbers, and what it takes and gives beside another, which is ``what``."""
        beside = self.summary(other)
        self.call(self.command(name))
        found = self.summary(name)
        return {
            **found,
            f"seconds over {what}": found["training seconds"] / beside["training seconds"],
            "accuracy moved, points": found["final accuracy"] - beside["final accuracy"],
        }

    def shares(self) -> dict[str, Any]:
        names = ("share-a", "share-b")
        alone = self.summary("stream")["training seconds"]
        started = time.monotonic()
        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(lambda name: self.call(self.command(name)), names))
        elapsed = time.monotonic() - started
        for name in names:
            self.same_bytes(name)
        together = max(self.summary(name)["training seconds"] for name in names)
        return {"equal bytes": True, "seconds": elapsed, "training over alone": together / alone}

    def leases(self) -> dict[str, Any]:
        """Each process says when it had the device, on the machine's one clock."""
        program = (
            "import json, sys, time\n"
            "from starprompt.machine import leases\n"
            "held = leases.lease(1, 1, 'campaign')\n"
            "if held is None: sys.exit('there is no device to lease')\n"
            "import torch\n"
            "if torch.cuda.is_available(): torch.ones(1, device='cuda').sum().item()\n"
            "begin = time.monotonic()\n"
            f"time.sleep({HOLD})\n"
            "print(json.dumps([begin, time.monotonic(), held.devices[0]]))\n"
        )
        processes = 6 if CUDA else 3
        with ThreadPoolExecutor(processes) as threads:
            calls = [
                threads.submit(self.call, [sys.executable, "-c", program]) for _ in range(processes)
            ]
        return held_one_by_one([found_in(call.result()) for call in calls])

    def benchmark(self, name: str) -> dict[str, Any]:
        command = [sys.executable, str(HERE / f"{name}.py"), *ARGUMENTS.get(name, ())]
        return found_in(self.call(command))  # type: ignore[no-any-return]


def held_one_by_one(spans: list[tuple[float, float, str]]) -> dict[str, Any]:
    """How long a device lay idle between two holders, given (begin, end, device) of each.

    Raises :class:`StageError` where two held one device together.
    """
    gaps = [0.0]
    for device in {device for _, _, device in spans}:
        own = sorted(span for span in spans if span[2] == device)
        gaps += [begin - end for (_, end, _), (begin, _, _) in itertools.pairwise(own)]
    if min(gaps) < 0:
        raise StageError("two processes held the device together")
    return {"processes": len(spans), "longest gap, s": max(gaps)}


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
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="seconds after which every stage is over"
    )
    options = parser.parse_args()
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_workplace(folder)
        campaign = Campaign(folder, folder / "data", began + options.budget)
        stages: dict[str, tuple[float, Callable[[], dict[str, Any]]]] = {
            name: (limit, getattr(campaign, name)) for name, limit in STAGES.items()
        }
        stages |= {
            name: (limit, partial(campaign.benchmark, name))
            for name, limit in (BENCHMARKS if CUDA else SMALL).items()
        }
        unknown = set(options.only or ()) - stages.keys()
        if unknown:
            parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(stages)}")
        for name, (limit, stage) in stages.items():
            if options.only and name not in options.only:
                continue
            start = time.monotonic()
            entry: dict[str, Any] = {}
            try:
                campaign.begin(limit)
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
