"""A folder in which the workflow runs, on the cluster or here, and what can be read from it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.helpers.cluster import GPUS, Cluster
from tests.helpers.paths import REPOSITORY

TOY = {
    "name": "toy",
    "title": "Runs that are there to be hit",
    "datasets": ["digits"],
    "methods": ["slow-probe"],
    "seeds": [1993, 1996],
    "device": "auto",
    "threads": 1,
    "gpu": 1,
    "mem_mb": 1500,
    "runtime": 5,
}
FOUR = {"seeds": [1993, 1996, 1997, 1998]}


def often(first_look: int) -> tuple[str, ...]:
    """Ask how jobs are after so many seconds; where none had ended 10 s later than before."""
    seconds = str(first_look)
    return "--slurm-init-seconds-before-status-checks", seconds, "--latency-wait", "10"


METHOD = {
    "extends": "linear-probe",
    "title": "Slow probe",
    "learner": "tests.helpers.slow_probe:SlowProbe",
}


class Stretch(NamedTuple):
    """The steps that one process trained in one run."""

    seed: int
    process: int
    job: str | None
    devices: str
    steps: list[tuple[int, int]]
    began: float
    ended: float


class Workplace:
    """What a user has after cloning and filling in the profile, without the clone's packages."""

    def __init__(self, folder: Path, data: Path | None = None, **changes: Any) -> None:
        """``data``: prepared data sets; None: in the folder. ``changes``: to the experiment."""
        self.folder = folder
        for name in ("config", "workflow"):
            shutil.copytree(REPOSITORY / name, folder / name)
        shutil.copy(REPOSITORY / "Snakefile", folder)
        (folder / "profiles").symlink_to("workflow/profiles")
        profile = folder / "workflow/profiles/slurm/config.yaml"
        text = profile.read_text()
        for line, filled in (
            ("# slurm_partition: gpu", "slurm_partition: main"),
            ("# slurm_account: my-project", "slurm_account: toy"),
        ):
            assert line in text
            text = text.replace(line, filled)
        profile.write_text(text)
        (folder / "config/methods/slow-probe.yaml").write_text(yaml.safe_dump(METHOD))
        (folder / "config/toy.yaml").write_text(yaml.safe_dump(TOY | changes))
        self.environment = {
            "PYTHONPATH": str(REPOSITORY),
            "SLOW_PROBE_LOG": str(folder / "steps.log"),
            "OMP_NUM_THREADS": "1",
            # The cluster says which device a job has; nothing computes on it.
            "STARPROMPT_FAKE_DEVICES": str(GPUS),
            "STARPROMPT_LEASES": str(folder / "leases"),
        }
        if data is not None:
            self.environment["STARPROMPT_DATA"] = str(data)

    def command(self, cluster: Cluster, *command: str, **environment: str) -> str:
        """What a command of the project prints here; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=cluster.environment | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(
        self, cluster: Cluster, *arguments: str, pause: float = 0, first_look: int = 8
    ) -> subprocess.Popen[bytes]:
        """Start the workflow through the profile, as a user does it, asking often how jobs are."""
        profile = ("starprompt.grid.snakemake", "--workflow-profile", "slurm", *often(first_look))
        return self.background(cluster, *profile, *arguments, pause=pause)

    def background(
        self, cluster: Cluster, *command: str, pause: float = 0
    ) -> subprocess.Popen[bytes]:
        """Start a command of the project in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=cluster.environment | self.environment | {"SLOW_PROBE_PAUSE": str(pause)},
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / "workflow.log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def tables(self, name: str) -> dict[str, str]:
        """The tables' texts by file name, without what they were made from.

        Times and memory differ from run to run, and so do the records' digests.
        """
        folder = self.folder / "results" / name / "tables"
        return {
            file.name: "\n".join(
                line for line in file.read_text().splitlines() if "starprompt-made-from" not in line
            )
            for file in sorted(folder.iterdir())
            if not file.name.startswith(("cost", "runs.")) and not file.name.endswith(".csv.json")
        }

    def predictions(self) -> dict[str, bytes]:
        """What every finished run of the toy predicted, by its folder's name."""
        root = self.folder / "results/runs/toy/digits/slow-probe"
        return {f.parent.name: f.read_bytes() for f in root.glob("seed*/predictions.parquet")}

    def record(self, seed: int) -> dict[str, Any]:
        """The record of a finished run of the toy."""
        path = self.folder / f"results/runs/toy/digits/slow-probe/seed{seed}/record.json"
        return json.loads(path.read_text())

    def log(self) -> str:
        """What Snakemake has said so far."""
        return (self.folder / "workflow.log").read_text(errors="replace")

    def stretches(self) -> list[Stretch]:
        """What was trained so far, process by process, in the order in which they began."""
        path = self.folder / "steps.log"
        found: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        for line in path.read_text().splitlines() if path.exists() else []:
            step = json.loads(line)
            found[step["seed"], step["process"]].append(step)
        return sorted(
            (
                Stretch(
                    seed,
                    process,
                    steps[0]["job"],
                    steps[0]["devices"],
                    [(step["task"], step["step"]) for step in steps],
                    steps[0]["time"],
                    steps[-1]["time"],
                )
                for (seed, process), steps in found.items()
            ),
            key=lambda stretch: stretch.began,
        )


class Reference:
    """The toy's four runs, made without SLURM and undisturbed."""

    def __init__(self, workplace: Workplace, cluster: Cluster) -> None:
        workplace.command(
            cluster, "starprompt.grid.snakemake", "--cores", "2", "--configfile", "config/toy.yaml"
        )
        self.predictions = workplace.predictions()
        self.tables = workplace.tables("toy")
        pair = workplace.folder / "config/pair.yaml"
        pair.write_text(yaml.safe_dump(TOY))
        workplace.command(cluster, "starprompt.cli", "tables", "--config", "config/pair.yaml")
        self.tables_of_two = workplace.tables("toy")


def at_once(stretches: list[Stretch]) -> list[tuple[Stretch, Stretch]]:
    """Pairs of processes that trained at the same time."""
    return [
        (a, b) for a, b in combinations(stretches, 2) if a.began < b.ended and b.began < a.ended
    ]


def repeated(stretches: list[Stretch]) -> list[tuple[int, tuple[int, int]]]:
    """(seed, (task, step)) of what more than one process trained."""
    seen: dict[tuple[int, tuple[int, int]], int] = defaultdict(int)
    for stretch in stretches:
        for step in stretch.steps:
            seen[stretch.seed, step] += 1
    return [step for step, times in seen.items() if times > 1]


def lost_tasks(stretches: list[Stretch]) -> list[tuple[int, tuple[int, int]]]:
    """What was trained again although the task that it belongs to had been finished before."""
    lost = []
    for before, after in combinations(stretches, 2):
        if before.seed == after.seed:
            under_way = before.steps[-1][0]
            lost += [(before.seed, step) for step in after.steps if step[0] < under_way]
    return lost


def check(place: Workplace, cluster: Cluster, reference: Reference) -> list[Stretch]:
    """What must be true in the end, whatever befell the runs; all that was trained."""
    place.command(cluster, "starprompt.cli", "tables", "--config", "config/toy.yaml")
    predictions = place.predictions()
    assert predictions == {name: reference.predictions[name] for name in predictions}
    tables = {2: reference.tables_of_two, 4: reference.tables}
    assert place.tables("toy") == tables[len(predictions)]
    stretches = place.stretches()
    same_run = [(a, b) for a, b in at_once(stretches) if a.seed == b.seed]
    same_device = [(a, b) for a, b in at_once(stretches) if a.devices == b.devices]
    assert not same_run
    assert not same_device
    assert not lost_tasks(stretches)
    return stretches


def until(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """What ``condition`` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def end(process: subprocess.Popen[bytes], workplace: Workplace, seconds: float = 400) -> None:
    """Wait for a workflow that must end well."""
    try:
        status = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it takes its jobs out of the queue
        process.wait(timeout=60)
        status = -1
    assert status == 0, workplace.log()[-6000:]
