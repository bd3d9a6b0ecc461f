"""What a run refuses before it begins."""

from pathlib import Path

import pytest

from starprompt.config.experiment import Run, load_config
from starprompt.errors import UserError
from starprompt.training import run as experiment


def test_a_portable_run_needs_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment.numerics, "require", lambda chosen: None)
    config = load_config(Path("config/demo.yaml"))
    two = config.model_copy(update={"numerics": "portable", "threads": 2})
    with pytest.raises(UserError, match="computes with one thread, not 2"):
        experiment.run(two, Run("digits", "starprompt", 1993))


def test_check_refuses_portable_numerics_where_a_run_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    config = load_config(Path("config/demo.yaml"))
    experiment.check(config)
    with pytest.raises(UserError, match=r"x86-64.*aarch64.*write numerics: native"):
        experiment.check(config.model_copy(update={"numerics": "portable"}))
