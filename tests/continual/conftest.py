"""Fixtures that several tests of the runner share."""

from typing import Any

import pytest

from starprompt.continual import header as header_module
from tests.helpers.continual_toy import (
    outcome_of,
    run_toy,
)
from tests.helpers.run_headers import RUNS


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The libraries of those runs, and today's version of the project itself."""
    versions = dict(RUNS["starprompt"]["versions"]) | {"starprompt": "99"}
    monkeypatch.setattr(header_module, "versions", lambda: dict(versions))
    return versions


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_toy(folder)
    return outcome_of(folder)
