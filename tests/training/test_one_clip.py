"""Queries, cached features and keys of one run come from one and the same CLIP."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from starprompt.backbones import tiny
from starprompt.config.experiment import Config, Run, embedding_path, load_config
from starprompt.errors import UserError
from starprompt.grid.jobs import Grid
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
    with pytest.raises(UserError, match="are of other weights than CLIP tiny has now; run"):
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


def test_numerics_have_features_and_runs_of_their_own() -> None:
    """In the workflow's eyes too; what native runs depend on is held in tests/golden."""
    native = load_config(Path("config/demo.yaml"))
    grids = [Grid(native)]
    for change in ({"numerics": "portable"}, {"deterministic": True}):
        grids.append(Grid(native.model_copy(update=change)))
    assert len({grid.run_depends("digits", "joint") for grid in grids}) == 3
    assert len({grid.embed_depends("digits") for grid in grids}) == 3
    assert grids[0].embedding_file("digits").endswith("/digits/tiny.safetensors")
    assert grids[1].embedding_file("digits").endswith("/digits/tiny.portable.safetensors")


def test_a_portable_run_needs_one_thread(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment.numerics, "require", lambda chosen: None)
    two = config.model_copy(update={"numerics": "portable", "threads": 2})
    with pytest.raises(UserError, match="computes with one thread, not 2"):
        experiment.run(two, CELL)


def test_a_pair_trained_anew_makes_features_and_runs_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(load_config(Path("config/demo.yaml")))
    before = grid.embed_depends("digits"), grid.run_depends("digits", "joint")
    monkeypatch.setattr(tiny, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "tiny-clip.safetensors").write_bytes(b"other")
    (tmp_path / "tiny-vit.safetensors").write_bytes(b"weights")
    grid = Grid(load_config(Path("config/demo.yaml")))  # as the next call reads it
    assert grid.embed_depends("digits") != before[0]
    assert grid.run_depends("digits", "joint") != before[1]
