"""What a person sees when something that they can mend is wrong.

Any module may raise :class:`UserError`; the command line prints its sentence and exits with 2.
Anything else that escapes is a bug of ours and keeps its traceback.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(Exception):
    """A mistake in what was asked or given: one sentence that says what, where and what to do."""


class TerminatedError(Exception):
    """A run was asked to end (SIGTERM) and has; the message says where the next one goes on."""


class DivergedError(UserError):
    """A loss is no longer finite. A search over hyperparameters goes on past it."""


def reason(error: BaseException) -> str:
    """What a library's exception says, for a sentence: one line, short, no addresses of memory."""
    text = re.sub(r"<([\w.]+)[^<>]* at 0x[0-9a-fA-F]+>", r"a \1", str(error))
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name, with the names that are similar."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
    else:
        hint = f"there are: {', '.join(known) or 'none'}."
    return UserError(f"There is no {kind} named {name!r}; {hint}")


def invalid_file(path: object, error: Any) -> UserError:
    """The error for a YAML or JSON file that a pydantic model refused: file, key, expected.

    ``error`` is a ``pydantic.ValidationError``; all its findings go into the one sentence.
    """
    findings = []
    for found in error.errors():
        key = ".".join(str(part) for part in found["loc"]) or "the whole file"
        if found["type"] == "extra_forbidden":
            findings.append(f"{key}: there is no such key")
        elif found["type"] == "missing":
            findings.append(f"{key}: is required but missing")
        else:
            message = found["msg"].removeprefix("Value error, ").rstrip(".")
            findings.append(f"{key}: {message[0].lower()}{message[1:]} (found {found['input']!r})")
    return UserError(f"{path} is not valid: {'; '.join(findings)}.")
