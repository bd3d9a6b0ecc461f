"""What a person sees when something that they can mend is wrong.

Any module may raise :class:`UserError`; the command line prints its sentence and exits with 2, or
with 1 where a run had begun.
Anything else that escapes is a bug of ours and keeps its traceback.
"""

import re
import signal
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

#: how many names, and how many findings, a sentence lists
MOST_NAMED = 30
MOST_FINDINGS = 8


class UserError(Exception):
    """A mistake in what was asked or given: one sentence that says what, where and what to do."""


class TerminatedError(BaseException):
    """A command was asked to end (SIGTERM, Ctrl-C) and has; the message says how to go on.

    number  of the signal: the exit status is 128 more

    As KeyboardInterrupt it is no ``Exception``: nothing takes it for a failure and goes on.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.number = number


class FailedRunError(UserError):
    """A run began and failed: its command ends with status 1, a mistake of the call with 2."""


class DivergedError(FailedRunError):
    """A loss is no longer finite. A search over hyperparameters goes on past it."""


def reason(error: BaseException) -> str:
    """What a library's exception says, for a sentence: one line, short, no addresses of memory."""
    text = re.sub(r"<([\w.]+)[^<>]* at 0x[0-9a-fA-F]+>", r"a \1", str(error))
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name, with the names that are similar."""
    known = sorted(known)
    near = get_close_matches(name[:200], known, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
    else:
        more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
        hint = f"there are: {', '.join(known[:MOST_NAMED]) or 'none'}{more}."
    return UserError(f"There is no {kind} named {_short(name)}; {hint}")


def _short(value: object, most: int = 100) -> str:
    """How a value is written, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def invalid_file(path: object, error: Any) -> UserError:
    """The error for a YAML or JSON file that a pydantic model refused: file, key, expected.

    ``error`` is a ``pydantic.ValidationError``; its first findings go into the one sentence.
    """
    findings = []
    found_all = error.errors()
    for found in found_all[:MOST_FINDINGS]:
        key = ".".join(str(part)[:100] for part in found["loc"]) or "the whole file"
        if found["type"] == "extra_forbidden":
            findings.append(f"{key}: there is no such key")
        elif found["type"] == "missing":
            findings.append(f"{key}: is required but missing")
        else:
            message = found["msg"].removeprefix("Value error, ").rstrip(".")
            findings.append(
                f"{key}: {message[0].lower()}{message[1:]} (found {_short(found['input'])})"
            )
    if len(found_all) > MOST_FINDINGS:
        findings.append(f"and {len(found_all) - MOST_FINDINGS} more")
    return UserError(f"{path} is not valid: {'; '.join(findings)}.")
