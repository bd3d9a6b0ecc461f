"""The method that the page on adding one shows, and its two files beside the others."""

import re
from pathlib import Path

import pytest

import baselines
from starprompt.config import methods as config_module
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY
PAGE = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The page's one block of code in ``language``."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


def add_documented_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the methods' folder with the page's two files beside the others."""
    for folder in ("methods", "baselines"):
        (tmp_path / folder).mkdir()
    for file in (ROOT / "config" / "methods").glob("*.yaml"):
        (tmp_path / "methods" / file.name).write_text(file.read_text())
    (tmp_path / "methods" / "slda.yaml").write_text(block("yaml"))
    (tmp_path / "baselines" / "slda.py").write_text(block("python"))
    monkeypatch.setattr(config_module, "METHODS", tmp_path / "methods")
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path / "baselines")])
    return tmp_path
