"""A few images of every data set for the report, from the prepared images that the runs saw."""

from typing import TYPE_CHECKING

from starprompt.errors import UserError

if TYPE_CHECKING:
    from paper_figures.collect import Results
    from paper_figures.report.data_sheet import DataSheet, Strip
    from starprompt.data.store import PreparedDataset
    from starprompt.record.record import StreamRecord

#: most classes of a data set, images of each, and pixels of an image's side
CLASSES, IMAGES, SIDE = 20, 4, 48


def data_sheets(found: "Results") -> "list[DataSheet]":
    """One for each data set of the plan; a sentence stands in for images that are not there."""
    from paper_figures.report.data_sheet import DataSheet

    sheets = []
    for dataset in found.plan.datasets:
        stream = found.stream(dataset.name)
        if stream is None:
            sheets.append(DataSheet(dataset.title, "No run on this data set has finished."))
            continue
        try:
            tasks = _tasks(_seen_by(stream), stream)
        except UserError as error:
            sheets.append(DataSheet(dataset.title, f"No images are shown: {error}"))
            continue
        sheets.append(DataSheet(dataset.title, _said(stream, tasks), tasks))
    return sheets


def _seen_by(stream: "StreamRecord") -> "PreparedDataset":
    """The prepared images, if they are those that a run saw; raises :class:`UserError` else."""
    from starprompt.data.registry import data_root, load_dataset_spec
    from starprompt.data.store import data_digest, open_prepared, prepared_folder

    prepared = open_prepared(prepared_folder(data_root(), stream.dataset))
    if data_digest(prepared, load_dataset_spec(stream.dataset), None) != stream.data_digest:
        raise UserError(
            f"{prepared.folder} holds other images than the runs saw, or another view of them."
        )
    return prepared


def _tasks(prepared: "PreparedDataset", stream: "StreamRecord") -> "list[tuple[int, list[Strip]]]":
    """Some classes of each task in the stream's order, at most CLASSES in all, evenly spread."""
    from paper_figures.report.data_sheet import Strip
    from starprompt.data.contact_sheet import strip

    count = len(stream.class_order)
    shown = {label * count // CLASSES for label in range(CLASSES)} if count > CLASSES else None
    source = {label: own for own, label in enumerate(stream.class_order)}
    tasks: dict[int, list[Strip]] = {}
    for label in range(count):
        if shown is None or label in shown:
            jpeg = strip(prepared, source[label], count=IMAGES, side=SIDE)
            task = stream.task_of_class[label] + 1
            tasks.setdefault(task, []).append(Strip(stream.class_names[label], jpeg))
    return list(tasks.items())


def _said(stream: "StreamRecord", tasks: "list[tuple[int, list[Strip]]]") -> str:
    classes, shown = len(stream.class_names), sum(len(strips) for _, strips in tasks)
    which = "each class" if shown == classes else f"{shown} of the classes"
    return (
        f"{sum(stream.train_counts):,} training and {sum(stream.test_counts):,} test images of "
        f"{classes} classes in {len(stream.test_counts)} tasks. Shown are training images of "
        f"{which}, in the tasks of seed {stream.seed}."
    )
