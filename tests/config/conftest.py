"""A folder that stands for the methods' files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from starprompt.config import methods

Writer = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write methods' files into a folder that stands for ``config/methods``."""
    monkeypatch.setattr(methods, "METHODS", tmp_path)

    def written(**files: dict[str, Any] | str) -> None:
        for name, value in files.items():
            text = value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False)
            (tmp_path / f"{name.replace('_', '-')}.yaml").write_text(text)

    return written
