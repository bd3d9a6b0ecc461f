"""How an experiment's methods compare on one data set: ``results/<config>/analysis/<data set>/``.

Everything is measured after the last task on the test images, from predictions and selections.
``comparison.csv``, ``errors.csv`` and ``prompt-choices.csv`` have one row a method and seed.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from starprompt.analysis.prompt_choices import choices_of, read_choices
from starprompt.analysis.results import RunFiles
from starprompt.analysis.runs import run_row
from starprompt.errors import UserError
from starprompt.record.record import PREDICTION_COLUMNS, RunRecord, StreamRecord, checked_file
from starprompt.record.run_files import PREDICTIONS, SELECTION

#: by method and seed, the folder of each finished run
Folders = Mapping[tuple[str, int], Path]
#: columns that stand in every table, whether it has rows or not
KEYS = ("method", "seed")


def compare_runs(folders: Folders) -> dict[str, pd.DataFrame]:
    """Every table of one data set, by the stem of its file.

    comparison      metrics and costs, by the columns of :mod:`starprompt.analysis.runs`, and
                    test_images, of all tasks
    errors          see :func:`errors_of`
    prompt-choices  see :func:`starprompt.analysis.prompt_choices.choices_of`; the methods that
                    select prompts alone

    Raises :class:`UserError` naming a file that is missing or damaged.
    """
    rows: dict[str, list[dict[str, object]]] = {
        "comparison": [],
        "errors": [],
        "prompt-choices": [],
    }
    for (method, seed), folder in folders.items():
        run = RunFiles(folder)
        stream = run.record.stream
        key = {"method": method, "seed": seed}
        predictions = read_predictions(folder / PREDICTIONS, run.record)
        images = sum(stream.test_counts)
        rows["comparison"].append({**key, **run_row(run.record), "test_images": images})
        rows["errors"].append({**key, **errors_of(predictions, stream)})
        chosen = read_choices(folder / SELECTION, run.record)
        if not chosen.empty:
            rows["prompt-choices"].append({**key, **choices_of(chosen, stream)})
    return {
        name: pd.DataFrame(found) if found else pd.DataFrame(columns=list(KEYS))
        for name, found in rows.items()
    }


def read_predictions(path: Path, record: RunRecord | None = None) -> pd.DataFrame:
    """``predictions.parquet`` as a frame.

    record  the run's; read from beside the file when None

    Raises :class:`UserError` naming the file when it is missing or damaged.
    """
    try:
        return pd.read_parquet(checked_file(path, record), columns=list(PREDICTION_COLUMNS))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of predictions ({error}); remove the run's folder and run "
            "it again."
        ) from error


def errors_of(predictions: pd.DataFrame, stream: StreamRecord) -> dict[str, float]:
    """Of one run's ``predictions.parquet``, in percent, each a mean over tasks.

    accuracy   of images whose class is named: the final average accuracy
    task       of images for which a class of their own task is named
    within     of those, the images whose class is named
    """
    last = predictions[predictions["after_task"] == predictions["after_task"].max()]
    tasks = np.asarray(stream.task_of_class)
    right_task = tasks[last["prediction"].to_numpy()] == last["task"].to_numpy()
    right = last["prediction"].to_numpy() == last["label"].to_numpy()
    by_task = pd.DataFrame({"task": last["task"].to_numpy(), "own": right_task, "right": right})
    within = by_task[by_task["own"]]
    return {
        "accuracy": 100 * float(by_task.groupby("task")["right"].mean().mean()),
        "task": 100 * float(by_task.groupby("task")["own"].mean().mean()),
        "within": 100 * float(within.groupby("task")["right"].mean().mean()),
    }
