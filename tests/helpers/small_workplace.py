"""A workplace in which the real commands run in a second: 48 scans, two tasks, an epoch a task.

``config``, ``data`` and ``results`` stand in one folder, as in a checkout; the experiment is
``config/few.yaml``.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tests.helpers.command_line import call
from tests.helpers.paths import REPOSITORY

EXPERIMENT: dict[str, Any] = {
    "name": "few",
    "title": "Few digits",
    "datasets": ["few"],
    "methods": ["starprompt", "starprompt-first-stage", "finetune"],
    "ablations": ["starprompt-no-confidence"],
    "seeds": [1, 2],
    "device": "cpu",
}
METHODS = (*EXPERIMENT["methods"], *EXPERIMENT["ablations"])
#: what equal runs have in common, byte by byte
RESULT_FILES = (
    "predictions.parquet",
    "selection.parquet",
    "diagnostics.safetensors",
    "checkpoint.safetensors",
)
#: in their order: those of the keys come first
RUNS = [
    (method, seed)
    for method in ("starprompt-first-stage", "starprompt", "starprompt-no-confidence", "finetune")
    for seed in EXPERIMENT["seeds"]
]
DATASET: dict[str, Any] = {
    "name": "few",
    "title": "Few digits",
    "tasks": 2,
    "image_size": 64,
    "sources": [{"format": {"kind": "image-folder", "folder": "few", "test_share": 0.25}}],
    "stored": {
        "train": [{"step": "resize", "size": [64, 64]}],
        "test": [{"step": "resize", "size": [64, 64]}],
    },
    "normalisation": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
}
QUICK = {
    "starprompt": {"epochs": 2, "batch_size": 12, "replay_epochs": 1, "replay_epochs_per_task": 0},
    "starprompt-first-stage": {"epochs": 2, "batch_size": 12, "replay_epochs": 1},
    "finetune": {"epochs": 2, "batch_size": 12},
}
MIXTURES = {"em_iterations": 5, "components": 1, "replay_samples": 16}


def small_workplace(folder: Path) -> Path:
    """``folder`` with experiment, methods and images; nothing is prepared yet."""
    shutil.copytree(REPOSITORY / "config", folder / "config")
    for name, values in QUICK.items():
        path = folder / "config" / "methods" / f"{name}.yaml"
        method = yaml.safe_load(path.read_text("utf-8"))
        given = values if name == "finetune" else values | MIXTURES
        method.setdefault("datasets", {})["few"] = given
        method["sources"]["few"] = "Made up."
        path.write_text(yaml.safe_dump(method, sort_keys=False, allow_unicode=True), "utf-8")
    (folder / "config" / "datasets" / "few.yaml").write_text(yaml.safe_dump(DATASET), "utf-8")
    (folder / "config" / "few.yaml").write_text(yaml.safe_dump(EXPERIMENT), "utf-8")
    _write_images(folder / "data" / "few")
    return folder


def _write_images(folder: Path) -> None:
    from sklearn.datasets import load_digits

    scans = load_digits()
    for digit in range(4):
        (folder / f"digit {digit}").mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(scans.target == digit)[:16]):
            scan = np.round(scans.images[row] * 255 / 16).astype(np.uint8)
            large = Image.fromarray(scan).resize((64, 64), Image.Resampling.BICUBIC)
            large.convert("RGB").save(folder / f"digit {digit}" / f"{number:02d}.png")


def run_folder(folder: Path, method: str, seed: int) -> Path:
    """Where one run stands."""
    return folder / "results/runs/few/few" / method / f"seed{seed}"


def run_arguments(method: str, seed: int) -> list[str]:
    """The command of one run."""
    chosen = ["--dataset", "few", "--method", method, "--seed", str(seed)]
    return ["run", *chosen, "--config", "config/few.yaml"]


def finish(folder: Path, runs: list[tuple[str, int]] = RUNS) -> None:
    """Prepare, embed and train what of it is not there yet."""
    commands = [
        ["data", "prepare", "few", "--threads", "1"],
        ["embed", "--dataset", "few", "--config", "config/few.yaml"],
        *(run_arguments(*run) for run in runs),
    ]
    for command in commands:
        status, said = call(command, folder)
        assert status == 0, said
