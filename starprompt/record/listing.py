"""Records as rows: whose they are, of which run, what came out, and what they ran on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from starprompt.errors import UserError
from starprompt.files import files_below
from starprompt.record.configuration import configuration_digest
from starprompt.record.csv_rows import csv_of
from starprompt.record.origins import IMPORTED, origin_of, shown_origin
from starprompt.record.record import read_record
from starprompt.record.run_files import RECORD

#: what a list shows of code that an older record does not name
UNKNOWN = "unknown"
_SHORT = 12


@dataclass(frozen=True)
class Listed:
    """One row. ``final`` is the final average accuracy in percent; None for a record that is
    refused, which ``trouble`` says why."""

    origin: str
    experiment: str
    method: str
    dataset: str
    seed: int | None
    final: float | None
    configuration: str
    source: str
    versions: str
    device: str
    folder: str
    trouble: str = ""


def run_folders(path: Path) -> list[Path]:
    """Every folder with a record at or under ``path``, hidden ones left out, by name.

    Raises :class:`UserError` for a folder that cannot be read.
    """
    found = (file.parent for file in files_below(path) if file.name == RECORD)
    return sorted(
        f for f in found if not any(part.startswith(".") for part in f.relative_to(path).parts)
    )


def default_folders(results: Path, experiment: str | None = None) -> list[Path]:
    """The runs made here and the imported ones; of one experiment where it is named."""
    name = experiment or "*"
    own = (results / "runs").glob(name)
    imported = (results / IMPORTED).glob(f"*/{name}")
    return [folder for root in (*sorted(own), *sorted(imported)) for folder in run_folders(root)]


def listed(folders: Sequence[Path]) -> Iterator[Listed]:
    """A row for each folder; a record that is refused has its row too."""
    for folder in folders:
        try:
            record, origin = read_record(folder / RECORD), origin_of(folder)
        except UserError as error:
            yield Listed("", "", "", "", None, None, "", "", "", "", str(folder), str(error))
            continue
        yield Listed(
            origin=shown_origin(origin),
            experiment=_plain(record.config),
            method=_plain(record.method.name),
            dataset=_plain(record.stream.dataset),
            seed=record.stream.seed,
            final=record.metrics.final_average_accuracy,
            configuration=configuration_digest(record)[:_SHORT],
            source=record.method_source[:_SHORT] or UNKNOWN,
            versions=_plain(" ".join(f"{n} {v}" for n, v in sorted(record.versions.items()))),
            device=_plain(str(record.device.get("name") or record.device.get("type") or "")),
            folder=str(folder),
        )


def as_text(rows: Sequence[Listed]) -> str:
    """Columns for a terminal; what is refused stands below them."""
    good = [row for row in rows if not row.trouble]
    heading = ("origin", "experiment", "method", "data set", "seed", "final", "source", "device")
    cells = [
        (
            row.origin,
            row.experiment,
            row.method,
            row.dataset,
            str(row.seed),
            f"{row.final:.2f}",
            row.source,
            f"{row.device}; {row.versions}",
        )
        for row in good
    ]
    widths = [max(len(row[at]) for row in [heading, *cells]) for at in range(len(heading))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [heading, *cells]
    ]
    return "\n".join([*lines, *(f"refused: {row.trouble}" for row in rows if row.trouble)])


def as_json(rows: Sequence[Listed]) -> str:
    """A list of mappings."""
    return json.dumps([asdict(row) for row in rows], indent=1, allow_nan=False)


def as_csv(rows: Sequence[Listed]) -> str:
    """One line a row, one at least, behind a line of names."""
    return csv_of([asdict(row) for row in rows])


def _plain(text: str) -> str:
    """A text from another machine without what steers a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
