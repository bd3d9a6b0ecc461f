"""Queries, cached features and keys of one run come from one CLIP, one seed and one first stage."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from starprompt.config.experiment import Config, Run, embedding_path, load_config
from starprompt.config.methods import load_method
from starprompt.errors import UserError
from starprompt.files import sha256_file
from starprompt.record.record import StreamRecord, read_record, write_record
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


STARPROMPT = load_method("starprompt")
FIRST_STAGE = "starprompt-first-stage"


def first_stage(folder: Path, seed: int = 1993, method: str = FIRST_STAGE) -> Path:
    """A finished first stage, whose keys are another for every seed."""
    record = fake_record(fake_plan(folder), "digits", method, seed, [[50.0, None], [40.0, 60.0]])
    folder.mkdir()
    save_file({"keys": zeros(4, 2) + seed}, folder / "checkpoint.safetensors")
    record.digests = {"checkpoint.safetensors": sha256_file(folder / "checkpoint.safetensors")}
    write_record(folder / "record.json", record)
    return folder


def stream_of(folder: Path) -> StreamRecord:
    return read_record(folder / "record.json").stream


def test_keys_are_known_by_their_digest(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a")
    assert experiment._keys_record(STARPROMPT, folder, stream_of(folder)) == {
        "method": FIRST_STAGE,
        "digest": sha256_file(folder / "checkpoint.safetensors"),
    }


@pytest.mark.parametrize("bit", range(0, 8 * 40, 37))
def test_a_flipped_bit_in_keys_is_refused(tmp_path: Path, bit: int) -> None:
    """From the last bytes, which are the keys' own, to the description before them."""
    folder = first_stage(tmp_path / "a")
    path = folder / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-1 - bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"checkpoint.safetensors is not the file that its run"):
        experiment._keys_record(STARPROMPT, folder, stream_of(folder))


@pytest.mark.parametrize("left", [0, 7, 60, -1])
def test_truncated_keys_are_refused(tmp_path: Path, left: int) -> None:
    folder = first_stage(tmp_path / "a")
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match="is not the file that its run"):
        experiment._keys_record(STARPROMPT, folder, stream_of(folder))


def test_keys_of_another_seed_in_this_ones_folder_are_refused(tmp_path: Path) -> None:
    """The checkpoint alone, or the whole folder with its record."""
    own, other = first_stage(tmp_path / "a"), first_stage(tmp_path / "b", seed=1996)
    stream = stream_of(own)
    with pytest.raises(UserError, match=r"The keys in .* have another seed"):
        experiment._keys_record(STARPROMPT, other, stream)
    (other / "checkpoint.safetensors").replace(own / "checkpoint.safetensors")
    with pytest.raises(UserError, match="is not the file that its run"):
        experiment._keys_record(STARPROMPT, own, stream)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("data set", {"dataset": "eurosat"}),
        ("class order", {"class_order": [3, 2, 1, 0]}),
        ("division into tasks", {"task_of_class": [0, 1, 1, 1]}),
        ("data", {"data_digest": "f" * 64}),
    ],
)
def test_keys_of_another_stream_are_refused(
    tmp_path: Path, what: str, change: dict[str, object]
) -> None:
    folder = first_stage(tmp_path / "a")
    stream = stream_of(folder).model_copy(update=change)
    with pytest.raises(UserError, match=f"have another {what} than this run; remove that folder"):
        experiment._keys_record(STARPROMPT, folder, stream)


def test_keys_of_another_method_are_refused(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a", method="linear-probe")
    with pytest.raises(UserError, match="have another method than this run"):
        experiment._keys_record(STARPROMPT, folder, stream_of(folder))


def test_keys_without_a_record_or_a_checkpoint_are_refused(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a")
    stream = stream_of(folder)
    (folder / "record.json").unlink()
    with pytest.raises(UserError, match=r"record\.json"):
        experiment._keys_record(STARPROMPT, folder, stream)
    (folder / "checkpoint.safetensors").unlink()
    with pytest.raises(UserError, match="There are no keys at"):
        experiment._keys_record(STARPROMPT, folder, stream)


def test_a_folder_a_device_or_a_dangling_link_in_place_of_keys_is_refused(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a")
    stream = stream_of(folder)
    path = folder / "checkpoint.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        experiment._keys_record(STARPROMPT, folder, stream)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"cannot be read \(it is not a regular file\)"):
        experiment._keys_record(STARPROMPT, folder, stream)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="There are no keys at"):
        experiment._keys_record(STARPROMPT, folder, stream)
