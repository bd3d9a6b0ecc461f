"""Files that are either whole or not there, digests of what they hold, and YAML read strictly."""

import copy
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import yaml
from pydantic import AfterValidator, Field

from starprompt.errors import UserError, reason

#: What experiments, methods and data sets may be called: their names enter paths, rules and shells.
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,99}$"
#: Key of a JSON file that holds the digest of all else in it.
SEAL = "own_digest"
#: Largest description that is read, in bytes; what its aliases expand to counts as well.
MOST_YAML = 1_000_000
#: longest note that a step keeps for itself, in bytes
MOST_NOTE = 100_000_000
#: Deepest nesting of mappings and lists in a YAML file.
MOST_NESTED = 50

_WRITE_TROUBLES = {
    errno.EACCES: "no permission there; choose another place",
    errno.EPERM: "no permission there; choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EISDIR: "a folder stands in its place; remove it or choose another place",
    errno.ENOTDIR: "a file stands where its folder should be; remove it or choose another place",
    errno.EEXIST: "a file stands where its folder should be; remove it or choose another place",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
    errno.ELOOP: "its links lead in a circle; remove them",
    errno.EFBIG: "the file would be larger than the file system admits; choose another place",
    errno.EIO: "the disk reports an error; choose another place",
}


#: failed reads of what is missing, is no such file, or, without a number, is none to a library
_DAMAGE = {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP}
#: errors that nothing but a write can meet
_OF_WRITES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def trouble(error: OSError) -> UserError | None:
    """The sentence for an error of the system that nothing has handled; None where it names none.

    A command raises it from whatever it was doing, reading or writing; the path that the error
    names says where.
    """
    if error.errno is None:
        return None
    place = _named(error)
    if error.errno in _OF_WRITES:
        return write_trouble(Path(place or "the output"), error)
    return UserError(
        f"{_short(place or 'A file or folder')} could not be used: {_why(error)}; "
        f"{_check(error)} and try again."
    )


def read_trouble(path: Path, error: OSError) -> UserError:
    """The sentence for a file or folder that could not be read, which says nothing of damage."""
    return UserError(
        f"{_short(path)} could not be read: {_why(error)}; {_check(error)} and try again."
    )


def files_below(folder: Path) -> Iterator[Path]:
    """What lies at any depth below ``folder`` and is no folder, in no order; links to folders are
    not followed. Nothing where there is no such folder.

    Raises :class:`UserError` for a folder that cannot be read, which ``Path.rglob`` passes over as
    if it were empty.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise read_trouble(Path(_named(error) or folder), error) from error

    for root, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(root) / name for name in names)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise :func:`read_trouble` for the system's errors in the block, which reads ``path``.

    An OSError without a number passes: libraries raise such for damage.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise read_trouble(path, error) from error


def says_damage(error: OSError) -> bool:
    """Whether a failed read says that something is missing or is no such file: to try again is
    of no use then."""
    return error.errno in _DAMAGE


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _check(error: OSError) -> str:
    return "check its permissions" if isinstance(error, PermissionError) else "check it"


def _named(error: OSError) -> str | None:
    """The path that an error of the system names; None where it names none."""
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None


def write_trouble(path: Path, error: OSError) -> UserError | None:
    """The sentence for a write to ``path`` that failed; None for errors of other kinds.

    That is also one that names another file than ``path``, what lies below it, its temporary
    file and the folders above it: something was read meanwhile.
    """
    if not _is_of(path, error):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"The disk is full: {_short(path)} could not be written; free some space and try again."
        )
    why = _WRITE_TROUBLES.get(error.errno or 0)
    return None if why is None else UserError(f"{_short(path)} could not be written: {why}.")


def _is_of(path: Path, error: OSError) -> bool:
    """Whether an error may be that of a write to ``path``: it names nothing else."""
    if (name := _named(error)) is None or error.errno in _OF_WRITES:
        return True
    place, named = (Path(each).absolute() for each in (path, name))
    is_part = f"{named}{os.sep}".startswith(f"{place.with_name(f'.{place.name}.')}")
    return is_part or named.is_relative_to(place) or place.is_relative_to(named)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``final``; rename it there if the block succeeds.

    The temporary path may become a file or a folder. On any failure it is removed and ``final``
    stays as it was. Raises :class:`UserError` when the disk is full or the place not writable.
    """
    final = Path(final)
    part = final.with_name(f".{final.name}.{os.getpid()}-{uuid4().hex[:6]}.part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if part.is_dir() and final.is_dir():
            shutil.rmtree(final)
        part.replace(final)
    except OSError as error:
        trouble = write_trouble(final, error)
        if trouble is None:
            raise
        raise trouble from error
    finally:
        _discard(part)


def _discard(part: Path) -> None:
    """Remove what a failed write left, as far as the file system lets it."""
    try:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    except OSError:  # a read-only file system refuses to remove even what is not there
        pass


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) so that ``path`` is never half written."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a regular file, read in blocks.

    Raises OSError where it is missing, or is a folder, a pipe or a device, which may never end.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value: equal values, whatever the order of their keys, agree."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def arrays_digest(arrays: Mapping[str, Any]) -> str:
    """Hex SHA-256 of C-contiguous NumPy arrays: names, types, shapes and bytes, by sorted name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.reshape(-1).data)
    return digest.hexdigest()


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON-able mapping with the digest of all else in it under :data:`SEAL`."""
    return value | {SEAL: digest_of(value)}


def unsealed(value: Any) -> dict[str, Any]:
    """What :func:`sealed` was given. Raises ValueError where it was changed or is none."""
    if not isinstance(value, dict) or SEAL not in value:
        raise ValueError("it holds no digest of itself")
    rest = {key: part for key, part in value.items() if key != SEAL}
    if value[SEAL] != digest_of(rest):
        raise ValueError("it was changed after it was written")
    return rest


def read_text(path: Path, most: int = MOST_YAML) -> str:
    """The text of a regular UTF-8 file of at most ``most`` bytes.

    Raises :class:`UserError` when it is missing, a folder or a device, too large, not readable or
    not UTF-8.
    """
    shown = _short(path)
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{shown} is a folder, not a file; check the path.")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{shown} is not a regular file; check the path.")
        if status.st_size > most:
            raise UserError(
                f"{shown} has {status.st_size:,} bytes, more than the {most:,} that such a file "
                "may have; check the path."
            )
        # The size may be untrue (/proc) or may change, so that reading is bounded too.
        with Path(path).open("rb") as file:
            return file.read(most).decode("utf-8")
    except FileNotFoundError as error:
        raise UserError(f"There is no file {shown}; check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{shown} is not UTF-8 text (byte {error.start}); save it in that encoding."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        what = getattr(error, "strerror", None) or error
        raise UserError(f"{shown} cannot be read: {what}; check the path.") from error


def read_json(path: Path, most: int = MOST_NOTE) -> Any:
    """The value of a JSON file that a step keeps for itself, read as :func:`read_text` does.

    Raises ValueError for whatever keeps it from being read: callers begin anew then.
    """
    try:
        return json.loads(read_text(path, most))
    except (UserError, RecursionError) as error:  # the latter: nested without end
        raise ValueError(reason(error)) from error


def require_name(kind: str, name: object, where: object) -> None:
    """Refuse a name that is unsafe in paths, rules or shells; ``where`` is the file that has it."""
    if not (isinstance(name, str) and re.fullmatch(NAME_PATTERN.strip("^$"), name)):
        shown = " ".join(_short(where).split())
        raise UserError(
            f"{shown}: {_short(repr(name))} is no name for a {kind}; names have lower-case "
            "letters, digits and hyphens, begin with a letter or digit, and have at most 100."
        )


def one_line(text: str) -> str:
    """``text``; ValueError for what would break a line of a table.

    That is control characters, line ends, lone surrogates, and blanks alone.
    """
    if bad := [letter for letter in text if unicodedata.category(letter) in _UNPRINTED]:
        raise ValueError(f"it contains the character {bad[0]!r}, which a table cannot show")
    if not text.strip():
        raise ValueError("it is empty")
    return text


#: control characters, surrogates, and separators of lines and paragraphs
_UNPRINTED = {"Cc", "Cs", "Zl", "Zp"}
#: a title, a class's name: one line that a table can show
Line = Annotated[str, Field(max_length=300), AfterValidator(one_line)]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping, read as :func:`parse_yaml` does.

    Raises :class:`UserError` when it cannot be read (see :func:`read_text`), is not such YAML or
    holds something else than a mapping.
    """
    value = parse_yaml(read_text(path), path)
    if not isinstance(value, dict):
        raise UserError(
            f"{_short(path)} must hold a mapping of keys to values, not {_short(value)}."
        )
    return value


def parse_yaml(text: str, path: object, most: int = MOST_YAML) -> Any:
    """The value of one YAML document: mappings, lists, text, numbers, truth values and nulls.

    Keys are text; numbers are decimal, and ``1e-3`` is one. Refused is what YAML 1.1 reads
    otherwise than it looks (duplicate keys, yes/no/on/off, dates, octal, hexadecimal and
    sexagesimal numbers), and what no description needs (infinities, merge keys, tags). ``path`` is
    named in messages; ``most`` bounds what aliases expand to, in characters.

    Raises :class:`UserError` that names file and line.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(str(path), most).build(yaml.parse(text, loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UserError(f"{_short(path)} is not YAML{line}: {_short(what)}.") from error


def dump_yaml(value: Any, **options: Any) -> str:
    """``value`` as YAML that :func:`parse_yaml` reads back, keys in their order.

    options  as of ``yaml.dump``
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **options)


class _Dumper(yaml.SafeDumper):
    """Quotes what PyYAML takes for text and :func:`parse_yaml` does not: 08, 0E0."""

    def represent_text(self, text: str) -> yaml.Node:
        """A scalar, in quotes where it looks like something else than text."""
        looks = [_NUMBER, *_SURPRISES.values()]
        style = "'" if any(pattern.fullmatch(text) for pattern in looks) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {
    word: word.lower() == "true" for t in ("true", "false") for word in (t, t.title(), t.upper())
}
#: plain texts that YAML 1.1 takes for something else than they look like, and what for
_SURPRISES = {
    "a truth value": re.compile(r"(?i:yes|no|on|off)"),
    "an octal, binary or hexadecimal number": re.compile(r"[-+]?0([0-9_]+|[box][0-9a-fA-F_]+)"),
    "a number": re.compile(r"[-+]?[0-9][0-9]*_[0-9_]*(\.[0-9_]*)?"),
    "a number to the base 60": re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
    "a date": re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"),
    "an infinity or no number": re.compile(r"(?i:[-+]?\.inf|\.nan)"),
}


class _Builder:
    """Makes values from the parser's events, without recursion, which nesting could exhaust."""

    def __init__(self, path: str, most: int) -> None:
        self.path = path
        self.most = most
        self.size = 0
        #: by anchor: the value and what it counts for; None while it is being made
        self.anchors: dict[str, tuple[Any, int] | None] = {}

    def build(self, events: Iterator[Any]) -> Any:
        """The value of the stream's one document; None where there is none."""
        documents: list[Any] = []
        # each open collection: its container, its anchor, its waiting key, the size before it
        stack: list[tuple[Any, str | None, list[str], int]] = []
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and documents:
                raise self.refusal(event, "it holds more than one document; keep one")
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._refuse_tag(event, event.implicit)
                if len(stack) == MOST_NESTED:
                    raise self.refusal(event, f"more than {MOST_NESTED} levels are nested")
                if event.anchor:
                    self.anchors[event.anchor] = None
                empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                if stack and isinstance(stack[-1][0], dict) and not stack[-1][2]:
                    raise self.refusal(event, "a key must be text, not a mapping or list")
                stack.append((empty, event.anchor, [], self.size))
                self._grow(event, 1)
                continue
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                value, anchor, _, before = stack.pop()
                if anchor:
                    self.anchors[anchor] = (value, self.size - before)
            elif isinstance(event, yaml.ScalarEvent):
                value = self._scalar(event)
                self._grow(event, len(event.value) + 1)
                if event.anchor:
                    self.anchors[event.anchor] = (value, len(event.value) + 1)
            elif isinstance(event, yaml.AliasEvent):
                value = self._alias(event)
            else:
                continue
            self._place(event, value, stack, documents)
        return documents[0] if documents else None

    def _place(
        self,
        event: Any,
        value: Any,
        stack: list[tuple[Any, str | None, list[str], int]],
        documents: list[Any],
    ) -> None:
        """Put a finished value into the open collection, or make it a mapping's next key."""
        if not stack:
            documents.append(value)
            return
        container, _, key, _ = stack[-1]
        if isinstance(container, list):
            container.append(value)
        elif key:
            container[key.pop()] = value
        elif not isinstance(value, str):
            raise self.refusal(
                event, f"the key {_short(repr(value))} is not text; put it in quotes"
            )
        elif value in container:
            raise self.refusal(event, f"the key {_short(repr(value))} stands there twice; keep one")
        elif value == "<<" and not event.style:
            raise self.refusal(event, "merge keys (<<) are not read; write the keys out")
        else:
            key.append(value)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        self._refuse_tag(event, event.implicit[0] or event.implicit[1])
        if event.style:  # quoted, or a block of text
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        for what, pattern in _SURPRISES.items():
            if pattern.fullmatch(text):
                raise self.refusal(
                    event,
                    f"{_short(repr(text))} would be read as {what}; put it in quotes, or write it "
                    "as a decimal number, true or false",
                )
        if not _NUMBER.fullmatch(text):
            return text
        if len(text) > 40:
            raise self.refusal(event, f"the number {_short(text)} is too long; round it")
        if _INTEGER.fullmatch(text):
            return int(text)
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise self.refusal(event, f"the number {text} is too large; correct it")
        return number

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self.refusal(event, f"*{_short(event.anchor)} refers to nothing; correct it")
        known = self.anchors[event.anchor]
        if known is None:
            raise self.refusal(event, f"*{_short(event.anchor)} refers to itself; write it out")
        self._grow(event, known[1])
        return copy.deepcopy(known[0])

    def _grow(self, event: Any, size: int) -> None:
        self.size += size
        if self.size > self.most:
            raise self.refusal(event, f"it expands to more than {self.most:,} characters")

    def _refuse_tag(self, event: Any, implicit: bool) -> None:
        if event.tag is not None and not (implicit and event.tag == "!"):
            raise self.refusal(event, f"the tag {_short(event.tag)} is not read; remove it")

    def refusal(self, event: Any, what: str) -> UserError:
        """The sentence for a fault, with file and line."""
        return UserError(f"{_short(self.path)}, line {event.start_mark.line + 1}: {what}.")


def _short(value: object, most: int = 200) -> str:
    """A text for a message, its middle left out where it is long."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"
