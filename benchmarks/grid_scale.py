"""The workflow's own cost: grids of empty runs through the real rules.

A copy of the workflow gets a command line that only writes empty files in place of results. Wall
clock and CPU time are measured for planning grids of growing size (a dry run of the target
``runs``), and for executing one of them with one run per job and with ten. Planning a single run
gives the cost of starting Snakemake, which is subtracted from costs per job. The last line is JSON;
``ratio`` is the CPU time with one run per job over that with ten.

    python benchmarks/grid_scale.py                        # under a minute
    python benchmarks/grid_scale.py --plan 10000 --do 10000
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from _timing import report

REPOSITORY = Path(__file__).parents[1]
#: a first stage and two methods that use its keys, and two that use none
METHODS = ["starprompt", "starprompt-prefix", "starprompt-first-stage", "finetune", "ncm"]
NOTHING = '''"""Leaves empty files where the real command line would leave results."""
import sys
from pathlib import Path

words = sys.argv[1:]
given = {}
for option, value in zip(words, words[1:]):
    given.setdefault(option, []).append(value)
if words[0] == "data":
    files = [f"data/prepared/{words[2]}/manifest.json"]
elif words[0] == "embed":
    files = [f"data/embeddings/{given['--dataset'][0]}/tiny.safetensors"]
else:
    name = Path(given["--config"][0]).parent.name
    cell = f"results/runs/{name}/{given['--dataset'][0]}/{given['--method'][0]}"
    stems = ["predictions.parquet", "selection.parquet", "diagnostics.safetensors"]
    stems += ["checkpoint.safetensors", "record.json"]
    files = [f"{cell}/seed{seed}/{stem}" for seed in given["--seed"] for stem in stems]
for file in files:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).touch()
'''


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, CPU seconds of Snakemake and its jobs, most megabytes of any."""

    wall: float
    cpu: float
    megabytes: float


def copy_of_workflow(folder: Path) -> None:
    for name in ("config", "workflow", "starprompt"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    (folder / "starprompt" / "cli.py").write_text(NOTHING)


def snakemake(folder: Path, runs: int, seeds_per_job: int, *arguments: str) -> Cost:
    """Plan or do a grid of ``runs`` runs."""
    config = {
        "name": f"grid-{runs}-{seeds_per_job}",
        "title": "Nothing",
        "datasets": ["digits"],
        "methods": METHODS if runs > 1 else ["ncm"],
        "seeds": list(range(max(1, runs // len(METHODS)))),
        "seeds_per_job": seeds_per_job,
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "runs", "--cores", "2", "--quiet", "all"]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("STARPROMPT", "SNAKE"))}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [*command, "--configfile", "grid.yaml", *arguments],
        cwd=folder,
        env=environ,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, after.ru_maxrss / 1024)


def main(plan: int, do: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_workflow(folder)
        found: dict[str, float] = {}
        start = snakemake(folder, 1, 1, "--dry-run")
        print(f"starting Snakemake: {start.wall:.1f} s, {start.megabytes:.0f} MB")
        for runs in dict.fromkeys((min(plan, 100), min(plan, 1000), plan)):
            cost = snakemake(folder, runs, 1, "--dry-run")
            each = (cost.cpu - start.cpu) / runs * 1000
            print(
                f"planning {runs} runs: {cost.wall:.1f} s ({cost.cpu:.1f} s CPU, {each:.1f} ms a "
                f"run), {cost.megabytes:.0f} MB"
            )
            found |= {f"plan_{runs}_s": cost.wall, f"plan_{runs}_cpu_s": cost.cpu}
            found[f"plan_{runs}_mb"] = cost.megabytes
        spent = {}
        for size in (1, 10):
            cost = snakemake(folder, do, size)
            spent[size] = cost.cpu - start.cpu
            print(
                f"doing {do} runs, {size} a job: {cost.wall:.1f} s ({cost.cpu:.1f} s CPU), "
                f"{spent[size] / do * 1000:.0f} ms CPU a run, {cost.megabytes:.0f} MB"
            )
            found |= {f"do_{do}_by_{size}_s": cost.wall, f"do_{do}_by_{size}_cpu_s": cost.cpu}
    rounded = {key: round(value, 2) for key, value in found.items()}
    report("grid_scale", round(spent[1] / spent[10], 1), **rounded)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", type=int, default=1000, help="runs of the largest plan")
    parser.add_argument("--do", type=int, default=100, help="runs of the grid that is done")
    options = parser.parse_args()
    main(options.plan, options.do)
