"""The cost of the paper's outputs: tables, figures and the page from a synthetic grid of runs.

Runs with synthetic numbers have the files of real ones, including digests; half of the methods
choose prompts. Then ``tables``, ``figures``, ``compare`` and ``report`` are called as
the command line calls them, the figures in two processes, and timed. With Chromium installed, the
page is opened and its accuracy table sorted.
The last line is JSON; ``ratio`` is the clock's seconds over those of the processors.

    python benchmarks/paper_scale.py           # 3 data sets, 6 methods, 2 seeds: under a minute
    python benchmarks/paper_scale.py --full    # 9 data sets, 25 methods, 3 seeds
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from _timing import report

REPOSITORY = Path(__file__).resolve().parents[1]
SEEDS = (1993, 1996, 1997)
COMMANDS = ("tables", "figures", "compare", "report")
#: of every made-up stream; images are test images a class
CLASSES, TASKS, LAYERS, IMAGES = 100, 10, 12, 10
#: the methods whose runs keep mixtures; Gaussians of a class, and its features and their dimensions
REPLAYING = ("starprompt", "starprompt-first-stage")
GAUSSIANS, FEATURES, DIMENSIONS = 5, 30, 768
#: the page sorts by each column in turn and writes down how long the slowest took
SORT = """<script>addEventListener("load", () => {
  const times = [...document.querySelectorAll("#accuracy-table thead button")].map((head) => {
    const start = performance.now();
    head.click();
    document.body.getBoundingClientRect();
    return performance.now() - start;
  });
  document.title = "sorted " + Math.max(...times);
});</script>"""


def experiment(folder: Path, full: bool) -> Path:
    """The experiment's file in a copy of the configuration; ``folder`` becomes its workplace."""
    from starprompt.config.methods import list_methods

    shutil.copytree(REPOSITORY / "config", folder / "config")
    paper = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text(encoding="utf-8"))
    # Variants come last: the paper's own methods are the first of a smaller grid.
    methods = [*paper["methods"], *(m for m in list_methods() if m not in paper["methods"])]
    config = {
        "name": "made-up",
        "title": "Made-up numbers",
        "datasets": paper["datasets"][: 9 if full else 3],
        "methods": methods[: 25 if full else 6],
        "seeds": list(SEEDS[: 3 if full else 2]),
    }
    path = folder / "config" / "made-up.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def write_run(folder: Path, dataset: str, method: str, seed: int, index: int) -> None:
    """A finished run's folder. Checkpoint and diagnostics are empty where no replay is drawn.

    index  of the method: later ones are worse, and every second one chooses prompts
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from starprompt.files import sha256_file
    from starprompt.record import record as records
    from starprompt.record.metrics import measure
    from starprompt.record.run_files import RUN_FILES

    random = np.random.default_rng([seed, index, sum(map(ord, dataset))])
    task_of_class = np.arange(CLASSES) * TASKS // CLASSES
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    skill = max(0.2, 0.95 - 0.025 * index)
    answers: dict[str, list[np.ndarray]] = {name: [] for name in records.PREDICTION_COLUMNS}
    choices: dict[str, list[np.ndarray]] = {name: [] for name in records.SELECTION_COLUMNS}
    accuracy: list[list[float | None]] = []
    for after in range(TASKS):
        seen = labels[task_of_class[labels] <= after]
        right = random.random(len(seen)) < skill - 0.01 * after
        named = np.where(right, seen, random.integers(0, seen.max() + 1, len(seen)))
        tasks = task_of_class[seen]
        for name, values in {
            "image_id": np.arange(len(seen)), "task": tasks, "label": seen, "prediction": named,
            "score": random.random(len(seen)), "after_task": np.full(len(seen), after),
        }.items():  # fmt: skip
            answers[name].append(values)
        shares = np.bincount(tasks, named == seen) / np.bincount(tasks)
        accuracy.append([*(100 * shares).tolist(), *[None] * (TASKS - after - 1)])
        if index % 2 == 0:
            true = np.tile(seen, LAYERS)
            chosen = random.integers(0, seen.max() + 1, len(true))
            chosen = np.where(random.random(len(true)) < skill, true, chosen)
            for name, values in {
                "image_id": np.tile(np.arange(len(seen)), LAYERS),
                "after_task": np.full(len(true), after),
                "layer": np.repeat(np.arange(LAYERS), len(seen)),
                "true_class": true, "chosen_class": chosen if index % 4 else np.full(len(true), -1),
                "similarity": random.random(len(true)), "prompt": chosen,
                "chosen_task": np.full(len(true), -1), "weight": np.ones(len(true)),
            }.items():  # fmt: skip
                choices[name].append(values)
    folder.mkdir(parents=True)
    for stem, columns, kinds in (
        ("predictions.parquet", answers, records.PREDICTION_COLUMNS),
        ("selection.parquet", choices, records.SELECTION_COLUMNS),
    ):
        arrays = {
            name: pa.array(np.concatenate(columns[name]) if columns[name] else [], kind)
            for name, kind in kinds.items()
        }
        pq.write_table(pa.table(arrays), folder / stem)
    replaying = method in REPLAYING and seed == SEEDS[0]
    if replaying:
        write_replay(folder, random)
    for stem in RUN_FILES:
        if not (folder / stem).exists() and stem != "record.json":
            (folder / stem).touch()
    order = np.random.default_rng(seed).permutation(CLASSES)
    counts = np.bincount(task_of_class[labels]).tolist()
    record = records.RunRecord(
        config="made-up",
        method=records.MethodRecord(
            name=method, title=method, learner="made:Up",
            hyperparameters={"components": GAUSSIANS} if replaying else {},
        ),
        stream=records.StreamRecord(
            dataset=dataset, title=dataset, seed=seed,
            class_names=[f"class {source}" for source in np.argsort(order)],
            class_order=order.tolist(), task_of_class=task_of_class.tolist(),
            train_counts=counts, test_counts=counts, data_digest="0" * 64,
        ),
        accuracy=accuracy,
        metrics=measure(accuracy, counts),
        times=[records.TaskTimes(train=90.0, end=5.0, evaluate=9.0, steps=100)] * TASKS,
        losses=[
            records.EpochLosses(task=task, epoch=epoch, losses={"loss": 1.0 / (1 + epoch)})
            for task in range(TASKS)
            for epoch in range(50)
        ],
        parameters={"trained": 10_000 * (index + 1), "operations": 10**9 * (index + 1)},
        backbones={}, keys=None, device={"kind": "cpu"}, peak_memory_bytes=10**9, versions={},
        git_revision="", started="2024-01-01T00:00:00+00:00", finished="2024-01-01T01:00:00+00:00",
        attempts=1, fingerprint="0" * 64,
        digests={s: sha256_file(folder / s) for s in RUN_FILES if s != "record.json"},
    )  # fmt: skip
    records.write_record(folder / "record.json", record)


def write_replay(folder: Path, random: np.random.Generator) -> None:
    """Mixtures and the features that they were fitted on, as generative replay keeps them."""
    from safetensors.numpy import save_file

    means = 4 * random.standard_normal((CLASSES, GAUSSIANS, DIMENSIONS), np.float32)
    weights = np.full((CLASSES, GAUSSIANS), 1 / GAUSSIANS, np.float32)
    mixtures = {"weights": weights, "means": means, "variances": np.ones_like(means)}
    save_file(
        {f"mixtures.{name}": part for name, part in mixtures.items()},
        folder / "checkpoint.safetensors",
    )
    tensors = {}
    for task in range(TASKS):
        labels = np.repeat(
            np.arange(CLASSES)[np.arange(CLASSES) * TASKS // CLASSES == task], FEATURES
        )
        drawn = means[labels, random.integers(0, GAUSSIANS, len(labels))]
        features = drawn + random.standard_normal(drawn.shape, np.float32)
        tensors[f"task{task}.train.features"] = features.astype(np.float16)
        tensors[f"task{task}.train.labels"] = labels.astype(np.int16)
    save_file(tensors, folder / "diagnostics.safetensors")


def timed(folder: Path, command: str, config: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processors that a command takes in ``folder``."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    call = [sys.executable, "-m", "starprompt.cli", command, "--config", str(config)]
    call += ["--threads", "2"] if command == "figures" else []
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(call, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slowest_sort(page: Path) -> float | None:
    """Milliseconds of the slowest sort of the page's accuracy table; None without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return None
    # Its own policy admits no other script than the page's.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    driven = page.with_name("driven.html")
    driven.write_text(text.replace("</body>", f"{SORT}</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            f"--user-data-dir={page.parent / 'profile'}", driven.as_uri(),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"<title>sorted ([\d.]+)</title>", done.stdout)
    if found is None:
        raise SystemExit("the page did not sort")
    return float(found[1])


def main(full: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        config = experiment(folder, full)
        grid = yaml.safe_load(config.read_text(encoding="utf-8"))
        runs = list(product(grid["datasets"], enumerate(grid["methods"]), grid["seeds"]))
        for dataset, (index, method), seed in runs:
            place = folder / "results/runs/made-up" / dataset / method / f"seed{seed}"
            write_run(place, dataset, method, seed, index)
        print(f"{len(runs)} runs, {CLASSES} classes, {len(runs) * IMAGES * CLASSES:,} images")
        times = {}
        for command in COMMANDS:
            wall, cpu = times[command] = timed(folder, command, config)
            print(f"{command}: {wall:.1f} s ({cpu:.1f} s CPU)")
        wall, cpu = (sum(column) for column in zip(*times.values(), strict=True))
        page = folder / "results" / "made-up" / "report.html"
        sort, megabytes = slowest_sort(page), page.stat().st_size / 1e6
        shown = "not measured, no Chromium" if sort is None else f"{sort:.0f} ms"
        print(f"all: {wall:.1f} s ({cpu:.1f} s CPU); page {megabytes:.1f} MB, sort {shown}")
        numbers = {f"{command}_cpu_s": round(cpu, 1) for command, (_, cpu) in times.items()}
        numbers |= {
            "wall_s": round(wall, 1),
            "cpu_s": round(cpu, 1),
            "page_mb": round(megabytes, 1),
        }
        report("paper_scale", round(wall / cpu, 2), runs=len(runs), sort_ms=sort, **numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="the paper's grid with 25 methods")
    main(parser.parse_args().full)
