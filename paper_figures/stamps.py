"""Where a file was made from, said in the file itself: code, configuration, records.

PDF and PNG say it in their metadata, HTML in a ``meta`` element, Markdown and LaTeX in a comment. A
CSV stays what ``pandas.read_csv`` reads as it is and has a file beside it, ``NAME.csv.json``.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from starprompt.errors import UserError, reason
from starprompt.files import NAME_PATTERN, read_text, sealed, sha256_file, unsealed, write_json

#: key of a PNG's text and name of the ``meta`` element
NAME = "starprompt-made-from"
#: most of a file that is searched for what it was made from, in bytes
MOST = 500_000_000

_DIGEST = r"[0-9a-f]{64}"
#: what each part looks like; they enter printed commands
_FORMS = {
    "command": r"[a-z-]{1,40}",
    "experiment": NAME_PATTERN.strip("^$"),
    "configuration": _DIGEST,
    "records": _DIGEST,
    "revision": r"[0-9a-f]{7,64}(-dirty)?|unknown",
    "starprompt": r"[0-9A-Za-z.+!-]{1,60}",
}


@dataclass(frozen=True)
class Stamp:
    """What a file was made from.

    command        of ``starprompt`` that wrote it
    experiment     its name
    configuration  digest of the experiment
    records        digest of the records, and their number
    revision       commit of the code, "-dirty" where tracked files differed
    starprompt     version
    """

    command: str
    experiment: str
    configuration: str
    records: str
    runs: int
    revision: str
    starprompt: str


_current: ContextVar[Stamp | None] = ContextVar("stamp", default=None)


@contextmanager
def stamping(stamp: Stamp) -> Iterator[None]:
    """Every file that the block writes says what it was made from."""
    before = _current.set(stamp)
    try:
        yield
    finally:
        _current.reset(before)


def current() -> Stamp | None:
    """The stamp of the files that are written now; for processes that share the writing."""
    return _current.get()


def adopt(stamp: Stamp | None) -> None:
    """Stamp all files of this process, which another one has started."""
    _current.set(stamp)


def metadata(suffix: str) -> dict[str, Any]:
    """What matplotlib writes into a PDF or a PNG; empty outside :func:`stamping`."""
    if (stamp := _current.get()) is None:
        return {}
    return {"Keywords" if suffix == "pdf" else NAME: _text(stamp)}


def stamped(suffix: str, text: str) -> str:
    """A text of Markdown, LaTeX or HTML with its stamp; unchanged outside :func:`stamping`."""
    if (stamp := _current.get()) is None:
        return text
    said = _text(stamp)
    if suffix == "tex":
        return f"% {NAME} {said}\n{text}"
    if suffix == "md":
        # A comment may not hold two hyphens in a row.
        return f"{text.rstrip()}\n\n<!-- {NAME} {said.replace('--', '-' + chr(92) + 'u002d')} -->\n"
    if suffix == "html":
        element = f'<meta name="{NAME}" content="{html.escape(said)}">'
        return re.sub(r"(<meta charset=[^>]*>)", lambda m: m[0] + element, text, count=1)
    return text


def write_side_files(paths: Iterable[Path]) -> list[Path]:
    """Beside each CSV a JSON with its stamp and SHA-256; nothing outside :func:`stamping`."""
    written = []
    for path in paths:
        if path.suffix == ".csv" and (stamp := _current.get()) is not None:
            written.append(side_file(path))
            about = {"sha256": sha256_file(path), "file": _place(path)}
            write_json(written[-1], sealed({**asdict(stamp), **about}))
    return written


def read_stamp(path: Path) -> Stamp:
    """What a file says that it was made from.

    Raises :class:`UserError` for a file that is missing, of another kind, or says nothing, for a
    stamp that is damaged, and for a CSV that was changed after it was written.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}; check the path.")
    try:
        value = _found(path)
    except (OSError, ValueError, RecursionError, SyntaxError) as error:
        raise UserError(
            f"{path}: its provenance stamp is damaged ({reason(error)}); make the file again."
        ) from error
    if value is None:
        raise UserError(
            f"{path} has no provenance stamp: an older version made it, somebody edited it, "
            "or it was not made here."
        )
    names = [field.name for field in fields(Stamp)]
    good = isinstance(value, dict) and set(value) == set(names)
    good = good and all(
        isinstance(value[name], str) and re.fullmatch(form, value[name])
        for name, form in _FORMS.items()
    )
    if not good or isinstance(value["runs"], bool) or not isinstance(value["runs"], int):
        raise UserError(f"{path}: its provenance stamp is not valid; make the file again.")
    return Stamp(**value)


def _found(path: Path) -> Any:
    """The stamp's JSON value; None where there is none."""
    if path.suffix == ".csv":
        return _beside(path)
    if path.suffix == ".png":
        try:
            with Image.open(path) as image:
                text = getattr(image, "text", {}).get(NAME)
        except UnidentifiedImageError as error:
            raise ValueError("it is not an image") from error
        return None if text is None else json.loads(text)
    with path.open("rb") as file:
        data = file.read(MOST)
    if path.suffix == ".pdf":
        match = re.search(rb"/Keywords \(((?:[^()\\]|\\.)*)\)", data)
        return json.loads(re.sub(rb"\\(.)", rb"\1", match[1])) if match else None
    patterns = {
        ".html": rf'<meta name="{NAME}" content="([^"]*)">',
        ".md": rf"^<!-- {NAME} (.*) -->$",
        ".tex": rf"^% {NAME} (.*)$",
    }
    if path.suffix not in patterns:
        raise ValueError(f"files with the ending {path.suffix!r} carry no stamp")
    text = data.decode("utf-8")
    found = re.search(patterns[path.suffix], text, flags=re.MULTILINE)
    if found is None:
        return None
    return json.loads(html.unescape(found[1]) if path.suffix == ".html" else found[1])


def unchanged(path: Path) -> Path:
    """``path``, a CSV, if it has the digest that stands beside it and stands where it was written:
    in a folder of that name, under that name. An earlier version wrote no digest, or no place.

    Raises ValueError where they differ or the digest cannot be read, OSError for no file.
    """
    _beside(path, here=True)
    return path


def _place(path: Path) -> str:
    """A file's name behind its folder's, which is a data set's in an analysis."""
    return f"{path.parent.name}/{path.name}"


def _beside(path: Path, here: bool = False) -> dict[str, Any] | None:
    """What stands beside a CSV, without its digest and place; None where nothing does.

    here  refuse a file that was written elsewhere, too
    """
    side = side_file(path)
    if not side.exists():
        return None
    try:
        value = unsealed(json.loads(read_text(side)))
    except (UserError, RecursionError) as error:  # a folder or a device; nested without end
        raise ValueError(f"{side.name} is damaged: {reason(error)}") from error
    if value.pop("sha256", None) != sha256_file(path):
        raise ValueError(f"it was changed after {side.name} was written")
    written = value.pop("file", _place(path))
    if here and written != _place(path):
        raise ValueError(f"it was written as {written}, and is not this file")
    return value


def side_file(path: Path) -> Path:
    """Where a CSV's stamp stands."""
    return path.with_name(f"{path.name}.json")


def _text(stamp: Stamp) -> str:
    return json.dumps(asdict(stamp), ensure_ascii=True, sort_keys=True)
