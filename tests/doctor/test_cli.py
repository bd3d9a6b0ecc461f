"""`starprompt doctor`: a line for each finding, and a status that says whether one is wrong."""

import json

import pytest
from typer.testing import CliRunner

from starprompt.doctor import checks
from starprompt.doctor.checks import Finding
from starprompt.doctor.cli import app

GOOD = Finding("Python", "ok", "3.11")
WRONG = Finding("disk", "wrong", "1 GB is free", "free some")
CONFIG = ["--config", "config/demo.yaml"]


@pytest.mark.parametrize(("findings", "status"), [([GOOD], 0), ([GOOD, WRONG], 1), ([], 0)])
def test_a_wrong_finding_is_the_status(
    findings: list[Finding], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "examine", lambda config: iter(findings))
    done = CliRunner().invoke(app, CONFIG)
    assert done.exit_code == status
    assert [found.found for found in findings if found.found not in done.stdout] == []


def test_for_machines_it_is_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "examine", lambda config: iter([GOOD, WRONG]))
    done = CliRunner().invoke(app, [*CONFIG, "--json"])
    assert done.exit_code == 1
    assert [finding["name"] for finding in json.loads(done.stdout)] == ["Python", "disk"]
