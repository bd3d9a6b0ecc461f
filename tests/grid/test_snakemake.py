"""The front door to Snakemake: what it refuses before anything starts."""

import os
import signal
import sys
from pathlib import Path

import pytest

from starprompt.grid import snakemake as front
from tests.helpers.paths import REPOSITORY


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").symlink_to(REPOSITORY / "workflow/profiles")


@pytest.mark.parametrize(
    "arguments", [["--workflow-profile", "slrum"], ["--workflow-profile=slrum"]]
)
def test_a_misspelt_profile_starts_nothing(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert front.main([*arguments, "--cores", "1"]) == 2
    message = capsys.readouterr().err
    assert "no workflow profile named 'slrum'; did you mean 'slurm'?" in message
    assert not (tmp_path / ".snakemake").exists()


@pytest.mark.parametrize("name", ["slurm", "default", "none", "profiles/slurm"])
def test_a_profile_that_is_there_is_taken(name: str) -> None:
    assert front.check_profile(["--workflow-profile", name]) == []


def test_a_call_without_arguments_names_no_profile() -> None:
    assert front.check_profile([]) == []


def test_default_resources_of_the_command_line_say_what_they_replace() -> None:
    call = ["--workflow-profile", "slurm", "--default-resources", "slurm_partition=short"]
    (note,) = front.check_profile(call)
    assert "slurm_extra" in note and "SIGTERM" in note
    assert front.check_profile(call[2:]) == []


@pytest.mark.parametrize("ends_by_itself", [True, False])
def test_an_interrupted_workflow_ends_with_the_signals_status(
    ends_by_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake takes a KeyboardInterrupt to wait for its jobs, and calls the end a failure."""

    def workflow(arguments: list[str]) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            if ends_by_itself:
                sys.exit(1)
            raise

    monkeypatch.setattr("snakemake.cli.main", workflow)
    before = signal.getsignal(signal.SIGINT)
    assert front.run_workflow([]) == 130
    assert signal.getsignal(signal.SIGINT) is before
