"""Options that several commands share: what is refused in one sentence."""

import pytest
from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.errors import UserError


def refusal(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, UserError), done.output
    assert done.stdout == ""
    return str(done.exception)


@pytest.mark.parametrize("number", ["inf", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    said = refusal("cost", "--rate", number)
    assert said == f"--rate {float(number)} is not a finite number; give one."


def test_what_is_no_number_is_refused() -> None:
    """By typer itself, in the versions of it whose ranges leave such numbers out."""
    done = CliRunner().invoke(app, ["cost", "--rate", "nan"])
    assert isinstance(done.exception, UserError) or done.exit_code == 2
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("cost",),
        ("cost", "--measured"),
        ("predict", "run", "images"),
        ("evaluate", "run", "--dataset", "x"),
        ("records", "list"),
    ],
)
def test_two_forms_of_output_exclude_each_other(words: tuple[str, ...]) -> None:
    assert refusal(*words, "--csv", "--json") == (
        "--csv and --json exclude each other; give one of them."
    )
