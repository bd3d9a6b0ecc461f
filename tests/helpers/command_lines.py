"""Calls of `starprompt` as the docs write them, parsed by the real command line, run by none."""

import shlex
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from starprompt.cli import app


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its words: `run`, `data list`."""
    yield from _below("", get_command(app))


def _below(prefix: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield prefix.strip(), command
        return
    for name, one in command.commands.items():
        yield from _below(f"{prefix} {name}", one)


def parse(line: str) -> dict[str, Any]:
    """The parameters that a call of `starprompt` gives its command.

    Raises what the command line raises for a call that it refuses.
    """
    name, *words = shlex.split(line, comments=True)
    assert name == "starprompt", line
    command, context = get_command(app), None
    if {"--version", "--help", "--install-completion"} & set(words):
        return {}
    while True:
        context = command.make_context(name, list(words), parent=context)
        if not hasattr(command, "commands"):
            return dict(context.params)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, words = command.resolve_command(context, rest)
        assert command is not None
