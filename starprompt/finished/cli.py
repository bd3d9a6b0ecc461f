"""``starprompt predict`` and ``starprompt evaluate``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from starprompt.config.options import one_format
from starprompt.machine import numerics
from starprompt.record.csv_rows import csv_of, no_formula
from starprompt.record.record import read_record
from starprompt.record.run_files import RECORD

RunFolder = Annotated[
    Path,
    typer.Argument(
        help="Folder of a finished run, such as results/runs/NAME/DATASET/METHOD/seedN."
    ),
]
Keys = Annotated[
    Path | None, typer.Option(help="Folder of the run that made the keys, if it was moved.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def predict_command(
    run: RunFolder,
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    top: Annotated[int, typer.Option(min=1, help="Classes per image, best first.")] = 1,
    explain: Annotated[
        Path | None,
        typer.Option(help="Draw which prompt each layer chose, into this .png, .pdf or .svg."),
    ] = None,
    keys: Keys = None,
    device: Device = "cpu",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Classify images with a finished run: class and score per image.

    Example: starprompt predict results/runs/demo/digits/starprompt/seed1993 photos
    """
    one_format(as_csv, as_json)
    loaded = _loaded(run, keys, device)
    from starprompt.finished import ask

    files = ask.image_files(images)
    predicted = loaded.predict(files)
    values = predicted.scores.to_numpy()
    rows = [
        {"image": str(file), "rank": rank + 1, "class": loaded.class_names[c], "score": scores[c]}
        for file, scores in zip(files, values.astype(float), strict=True)
        for rank, c in enumerate((-scores).argsort(kind="stable")[:top])
    ]
    _show(rows, as_csv, as_json)
    if explain is not None:
        first = ask.first_stage(loaded, keys)
        found = ask.choices(loaded, predicted, None if first is None else first.predict(files))
        from starprompt.finished.picture import draw_choices

        draw_choices(explain, [loaded.pixels(file) for file in files], predicted.best, found)
        typer.echo(f"wrote {explain}", err=as_csv or as_json)


def evaluate_command(
    run: RunFolder,
    dataset: Annotated[str, typer.Option(help="A prepared data set of the same classes.")],
    predictions: Annotated[
        Path | None, typer.Option(help="Write one row per image into this CSV file.")
    ] = None,
    keys: Keys = None,
    device: Device = "cpu",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Test a finished run on another data set of the same classes (domain shift).

    Example: starprompt evaluate RUN --dataset my-digits
    """
    one_format(as_csv, as_json)
    loaded = _loaded(run, keys, device)
    from starprompt.files import atomic_path
    from starprompt.finished.ask import evaluate_on

    found = evaluate_on(loaded, dataset)
    rows: list[dict[str, Any]] = found.by_task.to_dict("records")
    images = len(found.predictions)
    _show([*rows, {"task": "all", "images": images, "accuracy": found.accuracy}], as_csv, as_json)
    if predictions is not None:
        with atomic_path(predictions) as part:
            found.predictions.map(no_formula).to_csv(part, index=False)
        typer.echo(f"wrote {predictions}", err=as_csv or as_json)


def _loaded(folder: Path, keys: Path | None, device: str) -> Any:
    """The run, once this process computes with the numerics that it was computed with.

    Where the processor has no portable ones, :func:`load_run` warns.
    """
    known = read_record(folder / RECORD).extra.get("numerics", "native")
    if known == "portable" and device != "cuda" and numerics.why_impossible() is None:
        numerics.settle(known)
        numerics.require(known)
    from starprompt.finished.loaded_run import load_run
    from starprompt.machine.devices import pick_device

    return load_run(folder, keys=keys, device=pick_device(device).type)


def _show(rows: list[dict[str, Any]], as_csv: bool, as_json: bool) -> None:
    import json

    import pandas as pd

    table = pd.DataFrame(rows)
    if as_json:
        typer.echo(json.dumps(rows, indent=1, default=lambda value: value.item()))
    elif as_csv:
        typer.echo(csv_of(rows), nl=False)
    else:
        typer.echo(table.to_string(index=False, float_format="%.3f"))
