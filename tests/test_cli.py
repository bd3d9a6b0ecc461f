"""What the command line says of mistakes, before anything trains."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.cli import app, configure_logging
from tests.helpers.command_lines import commands, parse
from tests.helpers.paths import REPOSITORY


def wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) > 80]


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """The help of every command on a terminal of 80 columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setenv("NO_COLOR", "1")
        runner = CliRunner()
        words = ["", *(name for name, _ in commands()), "data", "weights", "records", "new"]
        return {name: runner.invoke(app, [*name.split(), "--help"]).output for name in words}


def test_help_fits_eighty_columns(helps: dict[str, str]) -> None:
    assert len(helps) > 35
    assert {name: wide(text) for name, text in helps.items() if wide(text)} == {}


def test_every_command_has_an_example_that_parses(helps: dict[str, str]) -> None:
    for name, command in commands():
        assert "Example: starprompt" in helps[name], name
        example = command.help.partition("Example: ")[2].partition("\n\n")[0]
        assert " ".join(example.split()).startswith(f"starprompt {name}")
        assert isinstance(parse(" ".join(example.split())), dict)


def test_one_default_for_config_named_in_the_help(helps: dict[str, str]) -> None:
    having = [name for name, one in commands() if "config" in (p.name for p in one.params)]
    assert len(having) >= 18
    for name in having:
        assert "config/demo.yaml" in re.sub(r"[│\s]", "", helps[name]), name
        assert "STARPROMPT_CONFIG" in re.sub(r"[│\s]", "", helps[name]), name


def test_the_help_names_every_exit_status(helps: dict[str, str]) -> None:
    for status in ("0 success", "1 a run failed", "2 a mistake", "130", "143"):
        assert status in " ".join(helps[""].split())


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("starprompt 0.")


def test_libraries_are_silent_in_our_logs(caplog: pytest.LogCaptureFixture) -> None:
    configure_logging()
    for name in ("fontTools.subset", "httpx", "a.library", "matplotlib.font_manager"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO), name
    for name in ("starprompt.continual.runner", "baselines.slca"):
        assert logging.getLogger(name).isEnabledFor(logging.INFO), name


@pytest.mark.parametrize(
    "arguments", [["check"], ["status"], ["cost", "--method", "finetune"], ["--help"]]
)
def test_an_output_that_takes_nothing_is_named(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "starprompt.cli", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    sentence = "error: The disk is full: the output could not be written; free some space and try"
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
