"""The cost of portable numerics on a CPU: the same training, alternating native and portable.

    python benchmarks/portable_numerics.py                    # four methods, three pairs each
    python benchmarks/portable_numerics.py --methods derpp --pairs 5

Each measurement is a process of its own, because libraries choose their kernels when they are
loaded. It trains the first two tasks of the digits for some epochs on the tiny pair. The comparison
uses processor seconds of training alone, without imports and data, because other work on the
machine disturbs them less than elapsed time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from _timing import report

METHODS = ("starprompt-first-stage", "starprompt", "finetune", "ranpac")
REPOSITORY = Path(__file__).resolve().parents[1]


def learn(method: str, numerics: str, epochs: int) -> float:
    """Seconds of processor time that a run's two tasks take in this process."""
    from starprompt.config.experiment import Run, load_config
    from starprompt.config.methods import load_method
    from starprompt.data.commands import prepare_all, specs
    from starprompt.machine.numerics import settle

    settle(numerics)  # type: ignore[arg-type]
    os.chdir(REPOSITORY)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["STARPROMPT_DATA"] = name
        list(prepare_all(specs("digits"), place, skip_corrupt=False, workers=1))
        from starprompt.training.run import embed, run

        config = load_config(
            {
                "name": "cost",
                "title": "Cost",
                "datasets": ["digits"],
                "methods": [method],
                "seeds": [1993],
                "device": "cpu",
                "numerics": numerics,
            }
        )
        embed(config, "digits")
        keys = load_method(method).keys
        for stage in (keys, method):
            if stage is None:
                continue
            changed = load_method(stage).resolve("digits")
            started = time.process_time()
            run(
                config,
                Run("digits", stage, 1993),
                folder=place / stage,
                keys_folder=place / keys if keys and stage != keys else None,
                hyperparameters={"epochs": epochs} if "epochs" in changed else None,
                first_tasks=2,
            )
    return time.process_time() - started


def measured(method: str, numerics: str, epochs: int) -> float:
    """The same in a new process."""
    command = [sys.executable, __file__, "--child", method, numerics, str(epochs)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **os.environ},
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(learn(given.child[0], given.child[1], int(given.child[2]))))
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print(
        "| method | native, s | portable, s | ratio of each pair |\n|:--|--:|--:|:--|", flush=True
    )
    slower = {}
    for method in given.methods:
        pairs = [
            [measured(method, numerics, given.epochs) for numerics in ("native", "portable")]
            for _ in range(given.pairs)
        ]
        native, portable = (median(of_kind) for of_kind in zip(*pairs, strict=True))
        ratios = ", ".join(f"{b / a:.2f}" for a, b in pairs)
        print(f"| {method} | {native:.2f} | {portable:.2f} | {ratios} |", flush=True)
        slower[method] = round(median(b / a for a, b in pairs), 3)
    report("portable_numerics", round(median(slower.values()), 3), by_method=slower)


if __name__ == "__main__":
    main()
