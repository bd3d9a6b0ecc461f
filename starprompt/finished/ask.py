"""`starprompt predict` and `starprompt evaluate`: one finished run, asked about other images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from starprompt.data.registry import data_root, load_dataset_spec
from starprompt.data.store import open_prepared, prepared_folder
from starprompt.data.stream import refuse_other_description
from starprompt.data.view_facts import ViewFacts
from starprompt.errors import UserError
from starprompt.files import files_below
from starprompt.finished.loaded_run import LoadedRun, Predicted, keys_folder, load_run

#: endings of files that a folder is searched for
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")


def image_files(path: Path) -> list[Path]:
    """The file itself, or a folder's images at any depth, sorted; hidden ones are left out.

    Raises :class:`UserError` where there is none, and for a folder that cannot be read.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise UserError(f"There is no {path}; name an image or a folder of images.")
    found = [
        file
        for file in sorted(files_below(path))
        if file.suffix.lower() in IMAGE_ENDINGS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise UserError(f"There is no image in {path} ({', '.join(IMAGE_ENDINGS)}).")
    return found


@dataclass(frozen=True)
class Choice:
    """What an image chose in one place: the layer's or the first stage's name, and the prompt."""

    where: str
    what: str
    value: float


def choices(run: LoadedRun, predicted: Predicted, first: Predicted | None) -> list[list[Choice]]:
    """By image: the first stage's class, where there is one, and the prompt that weighs most in
    each layer, with its similarity.

    Raises :class:`UserError` for a method that neither selects prompts nor has a first stage.
    """
    if predicted.selection is None and first is None:
        raise UserError(
            f"{run.record.method.name} selects no prompts, so there is nothing to explain; "
            "leave --explain out."
        )
    found: list[list[Choice]] = [[] for _ in range(len(predicted.scores))]
    if first is not None:
        for own, (name, score) in zip(found, first.best.to_numpy(), strict=True):
            own.append(Choice("first stage", name, float(score)))
    if predicted.selection is not None:
        ordered = predicted.selection.sort_values("weight", ascending=False, kind="stable")
        strongest = ordered.drop_duplicates(["image_id", "layer"])
        for row in strongest.sort_values(["image_id", "layer"]).itertuples():
            where = f"layer {row.layer}"
            found[row.image_id].append(Choice(where, _prompt(run, row), float(row.similarity)))
    return found


def _prompt(run: LoadedRun, row: Any) -> str:
    if row.chosen_class >= 0:
        return run.class_names[row.chosen_class]
    return f"task {row.chosen_task + 1}" if row.chosen_task >= 0 else f"prompt {row.prompt}"


def first_stage(run: LoadedRun, keys: Path | None = None) -> LoadedRun | None:
    """The run that made the keys of ``run``; None where it has none."""
    if run.record.keys is None:
        return None
    return load_run(
        keys_folder(run.folder, run.record, keys), device=run.learner.setting.device.type
    )


@dataclass(frozen=True)
class Evaluated:
    """A run on the test images of another data set of the same classes.

    accuracy     percent right of all images; classes weigh as many images as they have
    by_task      rows task (from 1), images, accuracy: percent right of the classes of the run's
                 own tasks
    predictions  one row an image: image_id, label and prediction by name, score
    """

    accuracy: float
    by_task: pd.DataFrame
    predictions: pd.DataFrame


def evaluate_on(run: LoadedRun, dataset: str) -> Evaluated:
    """Test a run on ``dataset``'s prepared test images, by that data set's own view.

    Raises :class:`UserError` unless its classes have the same names and its view the same size.
    """
    spec = load_dataset_spec(dataset)
    prepared = open_prepared(prepared_folder(data_root(), dataset))
    refuse_other_description(prepared, spec)
    label_of = _labels_by_name(run.class_names, prepared.class_names, dataset)
    if spec.image_size != run.facts.image_size:
        raise UserError(
            f"{dataset} has views of {spec.image_size} pixels, and {run.folder} was trained on "
            f"{run.facts.image_size}; give it a view of that size in its YAML."
        )
    test = prepared.test
    predicted = run.predict_stored(test.images, test.sizes, ViewFacts.of(spec).view)
    labels, scores = label_of[test.labels], predicted.scores.to_numpy()
    answers = scores.argmax(axis=1)
    right = answers == labels
    tasks = np.asarray(run.record.stream.task_of_class)[labels]
    table = pd.DataFrame({"task": tasks + 1, "right": right})
    by_task = table.groupby("task")["right"].agg(images="size", accuracy="mean").reset_index()
    by_task["accuracy"] *= 100
    names = np.asarray(run.class_names)
    rows = pd.DataFrame(
        {
            "image_id": np.arange(len(labels)),
            "label": names[labels],
            "prediction": names[answers],
            "score": scores.max(axis=1),
        }
    )
    return Evaluated(100 * float(right.mean()), by_task, rows)


def _labels_by_name(
    ours: Sequence[str], theirs: Sequence[str], dataset: str
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(C,) stream label of each source label of ``dataset``, by the class's name."""
    place = {name: label for label, name in enumerate(ours)}
    missing, unknown = sorted({*ours} - {*theirs}), sorted({*theirs} - {*ours})
    if missing or unknown:
        said = [f"lacks {', '.join(missing[:3])}"] if missing else []
        said += [f"has {', '.join(unknown[:3])}"] if unknown else []
        raise UserError(
            f"{dataset} has other classes than the run: it {' and '.join(said)}; give its classes "
            "the run's names (class_names in its YAML)."
        )
    return np.asarray([place[name] for name in theirs], dtype=np.int64)
