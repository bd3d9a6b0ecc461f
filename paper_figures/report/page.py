"""One self-contained page of an experiment: tables, figures, statistics, and every run.

It needs no network and no other file. All text from data is escaped by Jinja; the page's own
policy admits no script but its own.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from paper_figures.collect import Results
from paper_figures.figures.selection import choices_of_run
from paper_figures.provenance import Provenance
from paper_figures.report.curves import curves_svg
from paper_figures.report.data_sheet import DataSheet
from paper_figures.stamps import stamped
from paper_figures.tables.forms import all_notes, to_html
from paper_figures.tables.paper import AVERAGE, accuracy_table
from paper_figures.tables.table import NOTHING, Table, number
from starprompt.config.thresholds import Thresholds, shown
from starprompt.files import write_text
from starprompt.record.record import RunRecord
from starprompt.record.run_files import SELECTION

FOLDER = Path(__file__).parent
#: of a figure's file for one on the page
PIXELS = 2
#: lines of a run's log that the page shows
LOG_LINES = 20


@dataclass(frozen=True)
class Part:
    """A section between the accuracy table and the runs.

    figures  PNG files, in order
    """

    name: str
    heading: str
    tables: Sequence[Table] = ()
    figures: Sequence[Path] = ()
    sentences: Sequence[str] = ()


def write_report(
    results: Results,
    path: Path,
    made_from: Provenance,
    parts: Sequence[Part],
    configuration: str,
    thresholds: Thresholds,
    logs: Path,
    sheets: Sequence[DataSheet] = (),
) -> Path:
    """Write the page.

    configuration  the experiment as YAML
    thresholds     from where on a run shows a failure mode
    logs           holds ``<data set>/<method>/seed*.log``
    sheets         what is shown of the data sets

    Raises :class:`UserError` for a run whose table of chosen prompts is missing or damaged.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((FOLDER / "report.html.j2").read_text("utf-8"))
    script = (FOLDER / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown_parts = [part for part in parts if part.tables or part.figures or part.sentences]
    text = template.render(
        title=results.plan.title,
        made_from=made_from,
        sections=[
            ("accuracy", "Accuracy"),
            *((part.name, part.heading) for part in shown_parts),
            *([("data", "Data")] if sheets else []),
            ("runs", "Runs"),
            ("configuration", "Configuration"),
        ],
        accuracy=_accuracy(results),
        parts=[_part(part) for part in shown_parts],
        sheets=[_sheet(sheet) for sheet in sheets],
        runs=_runs(results, thresholds, logs),
        configuration=configuration,
        style=Markup((FOLDER / "report.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
    )
    write_text(path, stamped("html", text))
    return path


def _accuracy(results: Results) -> dict[str, Any]:
    """The accuracy table with a number for sorting and a link to the runs in every cell."""
    table = accuracy_table(results)
    methods = results.plan.blocks()
    numbers = table.numbers.set_index("method")
    # By name, because two data sets may have one title; the cells' columns are in the same order.
    names = {AVERAGE, *(d.name for d in results.plan.datasets)}
    columns = [name for name in numbers.columns if name in names]
    rows = []
    for at, (method, texts) in enumerate(
        zip(methods, table.cells.itertuples(index=False, name=None), strict=True)
    ):
        row: list[dict[str, Any]] = [{"text": texts[0]}]
        for place, (column, text) in enumerate(zip(columns, texts[1:], strict=True), start=1):
            value = numbers.loc[method.name, column]
            row.append(
                {
                    "text": text,
                    "value": "" if value != value else f"{value:.10g}",
                    "link": "" if column == AVERAGE else link(method.name, column),
                    "best": (at, place) in table.best,
                    "second": (at, place) in table.second,
                    "mark": table.marks.get((at, place), ""),
                }
            )
        rows.append(row)
    return {
        "caption": table.caption,
        "headings": [str(name) for name in table.cells.columns],
        "spans": list(table.spans),
        "rows": rows,
        "notes": [*all_notes(table), "Click a heading to sort, a number to see its runs."],
    }


def link(method: str, dataset: str, seed: int | None = None) -> str:
    """The anchor of a method's runs on a data set, or of one of them."""
    return f"run-{dataset}-{method}" + ("" if seed is None else f"-seed{seed}")


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "heading": part.heading,
        "sentences": list(part.sentences),
        "tables": [Markup(to_html(table)) for table in part.tables],
        "figures": [_figure(path) for path in part.figures],
    }


def _figure(path: Path) -> dict[str, Any]:
    """A PNG and its width on the page, so that its letters have the size of the text's notes."""
    data = path.read_bytes()
    with Image.open(BytesIO(data)) as image:
        width = image.width
    return {
        "title": path.stem.replace("-", " ").capitalize(),
        "data": base64.b64encode(data).decode(),
        "width": width // PIXELS,
    }


def _sheet(sheet: DataSheet) -> dict[str, Any]:
    return {
        "title": sheet.title,
        "said": sheet.said,
        "tasks": [
            {
                "number": number,
                "strips": [
                    {"name": strip.name, "data": base64.b64encode(strip.jpeg).decode()}
                    for strip in strips
                ],
            }
            for number, strips in sheet.tasks
        ],
    }


def _runs(results: Results, thresholds: Thresholds, logs: Path) -> list[dict[str, Any]]:
    groups = []
    for dataset in results.plan.datasets:
        for method in results.plan.methods:
            groups.append(
                {
                    "link": link(method.name, dataset.name),
                    "method": method.title,
                    "dataset": dataset.title,
                    "missing": [
                        {"seed": seed, "why": results.missing[dataset.name, method.name, seed]}
                        for seed in results.plan.seeds
                        if (dataset.name, method.name, seed) in results.missing
                    ],
                    "runs": [
                        {
                            "link": link(method.name, dataset.name, seed),
                            "seed": seed,
                            "log": _tail(logs / dataset.name / method.name, seed),
                            **_run(record, thresholds),
                            "selection": _selection(results, record),
                        }
                        for seed, record in results.of(dataset.name, method.name).items()
                    ],
                }
            )
    return groups


def _run(record: RunRecord, thresholds: Thresholds) -> dict[str, Any]:
    metrics = record.metrics
    joint = len(record.accuracy) == 1 and len(record.accuracy[0]) > 1
    return {
        "last": number(metrics.final_average_accuracy, 2),
        "average": number(metrics.average_incremental_accuracy, 2),
        "tasks": range(1, len(record.stream.test_counts) + 1),
        "matrix": [
            {"after": "all" if joint else at, "cells": [_cell(value) for value in row]}
            for at, row in enumerate(record.accuracy, start=1)
        ],
        "curves": Markup(curves_svg(record)),
        "failure_modes": shown(record.extra.get("signatures", {}).get("tasks", []), thresholds),
        "facts": _facts(record),
    }


def _selection(results: Results, record: RunRecord) -> list[dict[str, Any]]:
    """Rows of the matrix true task by task of the chosen prompt; none where nothing is chosen."""
    key = (record.stream.dataset, record.method.name, record.stream.seed)
    chosen = choices_of_run(results.plan.run_folder(*key) / SELECTION, record)
    if chosen is None:
        return []
    return [
        {"task": task, "cells": [_cell(None if value != value else value) for value in row]}
        for task, row in enumerate(chosen.tasks.tolist(), start=1)
    ]


def _cell(value: float | None) -> dict[str, Any]:
    if value is None:
        return {"text": "", "shade": 0}
    return {"text": number(value, 1), "shade": min(5, int(value // 18))}


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    metrics = record.metrics
    facts = [
        ("Weighted accuracy [%]", number(metrics.final_weighted_accuracy, 2)),
        ("Forgetting [%]", number(metrics.forgetting, 2)),
        ("Backward transfer [%]", number(metrics.backward_transfer, 2)),
        ("Learner", record.method.learner),
        ("Hyperparameters", _json(record.method.hyperparameters)),
        ("Backbones", _json(record.backbones)),
        ("Keys", _json(record.keys) if record.keys else NOTHING),
        ("Counted", _json(record.parameters)),
        ("Training [s]", number(sum(time.train + time.end for time in record.times), 1)),
        ("Peak memory [MB]", number(record.peak_memory_bytes / 1e6, 0)),
        ("Device", _json(record.device)),
        ("Versions", _json(record.versions)),
        ("Revision", record.git_revision or NOTHING),
        ("Started, finished", f"{record.started}, {record.finished}"),
        ("Attempts", str(record.attempts)),
        ("Class order", ", ".join(map(str, record.stream.class_order))),
        ("Data", record.stream.data_digest),
        ("Fingerprint", record.fingerprint),
    ]
    return facts


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _tail(folder: Path, seed: int) -> str:
    """The last lines of the log of a run's job; nothing where there is none."""
    for path in sorted(folder.glob("seed*.log")):
        if str(seed) in path.stem.removeprefix("seed").split("-"):
            lines = path.read_bytes()[-20_000:].decode("utf-8", errors="replace").splitlines()
            return "\n".join(line.rpartition("\r")[2] for line in lines[-LOG_LINES:])
    return ""
