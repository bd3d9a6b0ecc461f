"""Train STAR-Prompt on handwritten digits and look at which class's prompts its images choose.

    python examples/selection_matrix.py [--epochs 3] [--out selection.png]

Run it in an empty folder: it leaves ``data/`` and ``results/`` there. It needs no download and
takes about a minute on a CPU. Each part could be a notebook's cell.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import starprompt
from starprompt.config.experiment import Config, Run
from starprompt.data.prepare import prepare
from starprompt.data.registry import data_root, load_dataset_spec
from starprompt.training.run import embed, run

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--epochs", type=int, default=3)
arguments.add_argument("--out", type=Path, default=Path("selection.png"))
options = arguments.parse_args()

# --- an experiment: the tiny pair that comes with the package, five tasks of two digits each

config = Config(
    name="example",
    title="Digits in a minute",
    datasets=["digits"],
    methods=["starprompt"],
    seeds=[1993],
    device="cpu",
)

# --- images decoded once, CLIP's features of them computed once

prepare(load_dataset_spec("digits"), data_root())
embed(config, "digits")

# --- both stages; a run that is there already is not trained again

for method in ("starprompt-first-stage", "starprompt"):
    changes = {"epochs": options.epochs}
    record = run(config, Run("digits", method, 1993), hyperparameters=changes)
    print(f"{record.method.title}: {record.metrics.final_average_accuracy:.1f}%")

# --- the finished run as tables

loaded = starprompt.load_run(config.run_folder(Run("digits", "starprompt", 1993)))
print(loaded.accuracy.round(1).to_string(na_rep=""))
rows = loaded.selection[loaded.selection["after_task"] == loaded.selection["after_task"].max()]
counts = pd.crosstab(rows["true_class"], rows["chosen_class"], normalize="index")
classes = range(len(loaded.class_names))
matrix = counts.reindex(index=classes, columns=classes, fill_value=0.0)

# --- the selection matrix: a row is a true class, a column the class whose prompt was chosen

names = [name.removeprefix("the digit ") for name in loaded.class_names]
figure, axis = plt.subplots(figsize=(5.5, 5))
image = axis.imshow(100 * matrix, vmin=0, vmax=100, cmap="viridis")
axis.set_xticks(classes, names, rotation=90)
axis.set_yticks(classes, names)
axis.set_xlabel("class of the chosen prompt, all layers")
axis.set_ylabel("true class")
figure.colorbar(image, label="% of choices")
figure.tight_layout()
figure.savefig(options.out, dpi=150)
print(f"{100 * matrix.to_numpy().trace() / len(names):.1f}% of choices are the true class's")
print(f"wrote {options.out}")
