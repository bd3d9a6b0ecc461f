"""Queries, cached features and keys of one run come from one and the same CLIP."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from starprompt.config.experiment import Config, Run, embedding_path, load_config
from starprompt.errors import UserError
from starprompt.record.record import write_record
from starprompt.training import run as experiment
from tests.helpers.fake_results import fake_plan, fake_record

CELL = Run("digits", "starprompt", 1993)


def features_of(config: Config) -> Path:
    return experiment._embedding_file(config, "digits")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    config = load_config(Path("config/demo.yaml"))
    path = embedding_path(tmp_path, "digits", config.backbones.clip)
    path.parent.mkdir(parents=True)
    save_file({"train.clip": zeros(1, 1)}, path, metadata={"clip_digest": "now"})
    return config


def keys_of(digest: str, folder: Path) -> Path:
    record = fake_record(fake_plan(folder), "digits", "starprompt-first-stage", 1993, [[50.0]])
    record.backbones = {"clip": {"name": "tiny", "digest": digest}}
    write_record(folder / "record.json", record)
    return folder


def test_features_of_other_weights_are_refused(config: Config) -> None:
    experiment._refuse_other_clips(config, features_of(config), CELL, "now", None)
    with pytest.raises(
        UserError, match="were computed with other weights than CLIP tiny has now; run"
    ):
        experiment._refuse_other_clips(config, features_of(config), CELL, "later", None)


def test_keys_of_other_weights_are_refused(config: Config, tmp_path: Path) -> None:
    experiment._refuse_other_clips(
        config, features_of(config), CELL, "now", keys_of("now", tmp_path / "a")
    )
    with pytest.raises(UserError, match=r"The keys in .* run their method again"):
        experiment._refuse_other_clips(
            config, features_of(config), CELL, "now", keys_of("before", tmp_path / "b")
        )


def test_keys_of_other_numerics_are_refused(config: Config, tmp_path: Path) -> None:
    """Keys computed natively, and a second stage that is portable, make no portable run."""
    portable = config.model_copy(update={"numerics": "portable"})
    folder = keys_of("now", tmp_path / "a")
    experiment._refuse_other_rounding(config, folder)
    with pytest.raises(UserError, match=r"computed with numerics: native, .*asks for portable"):
        experiment._refuse_other_rounding(portable, folder)


def test_a_portable_run_needs_one_thread(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment.numerics, "require", lambda chosen: None)
    two = config.model_copy(update={"numerics": "portable", "threads": 2})
    with pytest.raises(UserError, match="computes with one thread, not 2"):
        experiment.run(two, CELL)
