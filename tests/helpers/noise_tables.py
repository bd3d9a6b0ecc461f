"""A small experiment in the working folder, and tables of noise of its runs."""

from pathlib import Path

import pandas as pd

from starprompt.config.experiment import Config

CONFIG = Config(
    name="small", title="Small", datasets=["digits"], methods=["finetune", "ncm"], seeds=[1993]
)
FILE = Path("config/small.yaml")


def write_experiment() -> None:
    """The experiment's file, and a folder for its results."""
    Path("results/small").mkdir(parents=True)
    FILE.parent.mkdir()
    FILE.write_text(CONFIG.model_dump_json())


def noise(*rows: tuple[str, int]) -> None:
    """A table of noise with these methods and perturbations."""
    columns = ["dataset", "method", "seed", "perturbation", "accuracy"]
    table = pd.DataFrame([("digits", m, 1993, n, 50.0) for m, n in rows], columns=columns)
    table.to_csv("results/small/noise-runs.csv", index=False)
    table.to_csv("results/small/noise.csv", index=False)
