"""Files that are either whole or not there, and digests of what they hold."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from starprompt.errors import UserError

#: the safe loader, in C where libyaml is there: a workflow reads some hundred of these files
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {final} could not be written; free some space and try again."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS):
            raise UserError(
                f"{final} could not be written: no permission there; choose another place."
            ) from error
        raise
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) so that ``path`` is never half written."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value: equal values, whatever the order of their keys, agree."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises :class:`UserError` when it is missing, is not YAML or holds something else.
    """
    try:
        value = yaml.load(Path(path).read_text(encoding="utf-8"), YAML_LOADER)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}; check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise UserError(f"{path} is not YAML{line}: {getattr(error, 'problem', error)}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a mapping of keys to values, not {value!r}.")
    return value
