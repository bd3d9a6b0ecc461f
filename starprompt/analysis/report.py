"""All analyses of one data set's runs, as tidy tables: ``results/<config>/analysis/<data set>/``.

docs/analysis.md describes the columns. Tables and figures read these files alone.
"""

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from starprompt.analysis import selection as choices
from starprompt.analysis.ablation import convergence, differences, run_row
from starprompt.analysis.clip_space import class_geometry, margins
from starprompt.analysis.failure_modes import norm_ratios
from starprompt.analysis.key_stability import key_drift
from starprompt.analysis.mixtures import compare_components
from starprompt.analysis.replay_quality import class_quality, classifier_accuracies
from starprompt.analysis.results import RunFiles
from starprompt.config.thresholds import Thresholds, is_shown
from starprompt.errors import UserError
from starprompt.files import atomic_path
from starprompt.record.run_files import RECORD

#: columns of the geometry of CLIP's space; with ``zero_shot_accuracy`` where that was run
CLIP_SPACE = ("seed", "task", "within", "between", "ratio", "margin")

#: by (method, seed)
Runs = dict[tuple[str, int], RunFiles]


def analyse(
    folder: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    full: str,
    zero_shot: str | None,
    thresholds: Thresholds,
    left_out: Collection[tuple[str, int]] = (),
) -> dict[str, pd.DataFrame]:
    """Every table of one data set, by the stem of its file.

    folder      holds ``<method>/seed<seed>/``
    full        the method that the others are compared with; its keys' run shows CLIP's space
    zero_shot   the method whose accuracy is CLIP's without learning; None where it was not run
    left_out    runs, by method and seed, that are not the experiment's any more

    Runs without a record are left out. Raises :class:`UserError` when the full method has none, and
    naming a file that is missing or damaged.
    """

    def finished(*names: str) -> Runs:
        return {
            (method, seed): RunFiles(folder / method / f"seed{seed}")
            for method in names
            for seed in seeds
            if (method, seed) not in left_out
            and (folder / method / f"seed{seed}" / RECORD).is_file()
        }

    runs = finished(*methods)
    first_full = next((run for (method, _), run in runs.items() if method == full), None)
    if first_full is None:
        raise UserError(
            f"No run of {full} under {folder} has finished; the variants are compared with "
            "it, so run it first."
        )
    keys = first_full.record.keys
    key_method = keys["method"] if keys else None
    if key_method is not None and key_method not in methods:
        runs |= finished(key_method)
    if zero_shot is not None:
        runs |= finished(zero_shot)
    every = {key: run for key, run in runs.items() if key[0] in methods}
    prompting = {key: run for key, run in every.items() if len(run.selection)}
    remembering = {key: run for key, run in runs.items() if key[0] in (*methods, key_method)}
    own_spaces = {key: run for key, run in runs.items() if key[0] in (full, key_method)}
    table = _of_each(every, lambda run: pd.DataFrame([run_row(run)]))
    table["components"] = [
        _components(runs[method, seed], runs.get((full, seed), first_full))
        for method, seed in zip(table["method"], table["seed"], strict=True)
    ]
    return {
        "runs": table,
        "ablation": _ablation(table, full),
        "convergence": _of_each(every, convergence),
        "selection": _of_each(prompting, _by_task),
        "selection-by-class": _of_each(prompting, _by_class),
        "confusion": _of_each(prompting, _confusion),
        "key-drift": _of_each(prompting, _drift),
        "mixtures": _of_each(own_spaces, _mixtures),
        "clip-space": _clip_space(runs, key_method, zero_shot, seeds),
        "signatures": _of_each(every, lambda run: _signatures(run, thresholds)),
        "layers": _of_each(prompting, _layers),
        "replay-quality": _of_each(remembering, _quality),
        "replay-classifier": _of_each(remembering, _classifiers),
    }


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """One CSV file a table, each whole or not there; returns their paths."""
    written = []
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        with atomic_path(path) as part:
            table.to_csv(part, index=False, float_format="%.10g")
        written.append(path)
    return written


def _of_each(runs: Runs, table: Callable[[RunFiles], pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the runs' tables; prepend method and seed."""
    frames = []
    for (method, seed), run in runs.items():
        frame = table(run)
        if len(frame):
            frame.insert(0, "method", method)
            frame.insert(1, "seed", seed)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"method": []})


def _components(run: RunFiles, full: RunFiles) -> float:
    """Gaussians a class of the full method's runs and of those that differ in that alone; else
    NaN."""
    own, other = (dict(one.record.method.hyperparameters) for one in (run, full))
    components = own.pop("components", None)
    full_components = other.pop("components", None)
    alike = run.record.method.learner == full.record.method.learner and own == other
    # The same number of Gaussians as the full method, and yet another method: its keys differ.
    other_keys = components == full_components and run.folder != full.folder
    return float(components) if alike and components and not other_keys else math.nan


def _ablation(runs: pd.DataFrame, full: str) -> pd.DataFrame:
    scores = {
        str(method): dict(zip(own["seed"], own["final_average_accuracy"], strict=True))
        for method, own in runs.groupby("method", sort=False)
    }
    return differences(scores, full)


def _rows(run: RunFiles) -> pd.DataFrame:
    return choices.with_tasks(run.selection, run.task_of_class)


def _by_task(run: RunFiles) -> pd.DataFrame:
    return choices.by_task(_rows(run))


def _by_class(run: RunFiles) -> pd.DataFrame:
    frame = choices.by_class(_rows(run))
    frame["class"] = _source_classes(run)[frame["label"]]
    frame["class_name"] = np.asarray(run.record.stream.class_names)[frame["label"]]
    frame["task"] = run.task_of_class[frame["label"]]
    return frame


def _source_classes(run: RunFiles) -> np.ndarray:
    """(C,) the data set's own number of each stream label."""
    return np.argsort(run.record.stream.class_order)


def _confusion(run: RunFiles) -> pd.DataFrame:
    return choices.confusion(_rows(run), int(run.task_of_class.max()) + 1)


def _drift(run: RunFiles) -> pd.DataFrame:
    keys = [run.diagnostics(task).get("keys") for task in range(len(run.record.times))]
    known = [key for key in keys if key is not None]
    return key_drift(known, run.task_of_class) if len(known) == len(keys) > 1 else pd.DataFrame()


def _mixtures(run: RunFiles) -> pd.DataFrame:
    features, labels = run.features("train")
    if not len(labels):
        return pd.DataFrame()
    frame = compare_components(features, labels)
    # A run with keys of its own is the first stage, and its features are CLIP's.
    frame.insert(0, "space", "vit" if run.record.keys else "clip")
    return frame.assign(dim=features.shape[1])


def _clip_space(
    runs: Runs, key_method: str | None, zero_shot: str | None, seeds: Sequence[int]
) -> pd.DataFrame:
    """One row a seed and task: means over its classes or test images."""
    frames = []
    for seed in seeds:
        if key_method is None or (key_method, seed) not in runs:
            continue
        run = runs[key_method, seed]
        features, labels = run.features("test")
        if not len(labels):
            continue
        geometry = class_geometry(features, labels)
        geometry["task"] = run.task_of_class[geometry["label"]]
        frame = geometry.groupby("task", as_index=False)[["within", "between", "ratio"]].mean()
        keys = run.diagnostics(len(run.record.times) - 1)["keys"]
        margin = pd.Series(margins(features, keys)).groupby(run.task_of_class[labels]).mean()
        frame["margin"] = frame["task"].map(margin)
        if zero_shot is not None:
            alone = runs.get((zero_shot, seed))
            final = (
                [math.nan] * len(run.record.accuracy[-1])
                if alone is None
                else (alone.record.accuracy[-1])
            )
            frame["zero_shot_accuracy"] = [final[task] for task in frame["task"]]
        frame.insert(0, "seed", seed)
        frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=list(CLIP_SPACE), dtype=float)
    return pd.concat(frames, ignore_index=True)


def _signatures(run: RunFiles, thresholds: Thresholds) -> pd.DataFrame:
    by_task = run.record.extra.get("signatures", {}).get("tasks", [])
    rows = [
        {
            "task": task,
            "signature": name,
            "value": value,
            "threshold": getattr(thresholds, name),
            "shown": is_shown(name, value, thresholds),
        }
        for task, values in enumerate(by_task)
        for name, value in values.items()
    ]
    return pd.DataFrame(rows)


def _layers(run: RunFiles) -> pd.DataFrame:
    """Norm of what prompts add over the attention's own, by task and layer."""
    rows = []
    for task in range(len(run.record.times)):
        found = run.diagnostics(task)
        if "injected_norm" in found:
            rows += [(task, layer, ratio) for layer, ratio in enumerate(norm_ratios(found))]
    return pd.DataFrame(rows, columns=["task", "layer", "ratio"])


def _quality(run: RunFiles) -> pd.DataFrame:
    if run.mixtures is None:
        return pd.DataFrame()
    features, labels = run.features("train")
    if not len(labels):
        return pd.DataFrame()
    frame = class_quality(features, labels, run.mixtures)
    frame["class"] = _source_classes(run)[frame["label"]]
    frame["class_name"] = np.asarray(run.record.stream.class_names)[frame["label"]]
    return frame


def _classifiers(run: RunFiles) -> pd.DataFrame:
    features, labels = run.features("train")
    test_features, test_labels = run.features("test")
    if run.mixtures is None or not len(labels) or not len(test_labels):
        return pd.DataFrame()
    real, generated = classifier_accuracies(
        features, labels, test_features, test_labels, run.mixtures
    )
    return pd.DataFrame([{"real": 100 * real, "generated": 100 * generated}])
