"""Whose a record is: a note in the folder of a run that was made elsewhere.

A run made here has no note. The note names the record that it is of, so that a run which is trained
here in the same folder later is taken as made here.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from starprompt.errors import UserError
from starprompt.files import read_text, require_name, sealed, sha256_file, unsealed, write_json
from starprompt.record.run_files import RECORD, RunKey

NOTE = "origin.json"
#: what tables and lists show of a run made here: no origin may be called so
HERE = "here"
#: folder beside ``results/runs`` with one folder an origin, each as ``results/runs`` is
IMPORTED = "imported"


def require_origin(origin: str) -> None:
    """Refuse a name for an origin that is none, or that means the runs made here."""
    require_name("origin", origin, "--origin")
    if origin == HERE:
        raise UserError(
            f"--origin {HERE} is what lists and tables show of runs made here; choose another name."
        )


def shown_origin(origin: str) -> str:
    """An origin as lists and tables show it; ``origin`` is empty for a run made here.

    Earlier versions imported under the name that is now :data:`HERE`'s alone.
    """
    return f"{HERE} (imported)" if origin == HERE else origin or HERE


def write_origin(folder: Path, origin: str, archive: str) -> None:
    """Say in a run's folder, whose record is there, where the run is from.

    origin   a name
    archive  SHA-256 of the archive that it came in
    """
    require_origin(origin)
    note = {"origin": origin, "record": sha256_file(folder / RECORD), "archive": archive}
    write_json(folder / NOTE, sealed(note))


def origin_of(folder: Path) -> str:
    """Where the run in ``folder`` is from; empty for one made here.

    Raises :class:`UserError` for a damaged note.
    """
    note = folder / NOTE
    if not note.is_file():
        return ""
    try:
        value = unsealed(json.loads(read_text(note)))
        origin, record = value["origin"], value["record"]
    except (ValueError, KeyError, RecursionError) as error:
        raise UserError(
            f"{note} is damaged ({error}); import or merge the run's archive again."
        ) from error
    require_name("origin", origin, note)
    return str(origin) if record == sha256_file(folder / RECORD) else ""


def imported_runs(results: Path) -> Iterator[tuple[str, RunKey, Path]]:
    """(origin, data set and method and seed, folder) of every imported run, by origin's name."""
    for record in sorted((results / IMPORTED).glob(f"*/*/*/*/seed*/{RECORD}")):
        folder = record.parent
        seed = folder.name.removeprefix("seed")
        origin = folder.parents[3].name
        if seed.isdecimal() and not origin.startswith("."):
            yield origin, (folder.parents[1].name, folder.parent.name, int(seed)), folder
