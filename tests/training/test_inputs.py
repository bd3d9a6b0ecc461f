"""Queries, cached features and keys of one run come from one CLIP, one seed and one first stage."""

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from starprompt.config.experiment import Config, Run, embedding_path, load_config
from starprompt.config.methods import check_hyperparameters, load_method
from starprompt.data.registry import data_root
from starprompt.errors import UserError
from starprompt.files import sha256_file
from starprompt.record.record import StreamRecord, read_record, write_record
from starprompt.training.inputs import keys_record, refuse_other_features, refuse_other_keys
from starprompt.training.perturbation import Perturbation
from tests.helpers.fake_results import fake_plan, fake_record

CELL = Run("digits", "starprompt", 1993)
FIRST_STAGE = "starprompt-first-stage"


def features_of(config: Config, **metadata: str) -> Path:
    """Cached features whose metadata name the CLIP "now"."""
    path = embedding_path(data_root(), "digits", config)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"train.clip": zeros(1, 1)}, path, metadata={"clip_digest": "now", **metadata})
    return path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    return load_config(Path("config/demo.yaml"))


def keys_of(digest: str, folder: Path, extra: dict[str, object] | None = None) -> Path:
    record = fake_record(fake_plan(folder), "digits", FIRST_STAGE, 1993, [[50.0]])
    record.backbones = {"clip": {"name": "tiny", "digest": digest}}
    record.extra |= extra or {}
    write_record(folder / "record.json", record)
    return folder


def test_features_of_other_weights_are_refused(config: Config) -> None:
    refuse_other_features(config, features_of(config), CELL, "now")
    with pytest.raises(
        UserError, match="were computed with other weights than CLIP tiny has now; run"
    ):
        refuse_other_features(config, features_of(config), CELL, "later")


def test_features_of_another_precision_or_rounding_are_refused(config: Config) -> None:
    path = features_of(config, precision="bf16")
    with pytest.raises(UserError, match=r"with precision: bf16, but demo asks for float32; run"):
        refuse_other_features(config, path, CELL, "now")
    refuse_other_features(config.model_copy(update={"precision": "bf16"}), path, CELL, "now")
    path = features_of(config, precision="float32", numerics="portable")
    with pytest.raises(UserError, match=r"with numerics: portable, but demo asks for native"):
        refuse_other_features(config, path, CELL, "now")


def test_perturbed_features_are_those_of_their_perturbation_alone(config: Config) -> None:
    first, second = (Perturbation(number, Path("anywhere")) for number in (1, 2))
    path = features_of(config, perturbation=first.mark)
    refuse_other_features(config, path, CELL, "now", first)
    for other in (None, second):
        with pytest.raises(UserError, match="were perturbed by `starprompt noise`"):
            refuse_other_features(config, path, CELL, "now", other)
    with pytest.raises(UserError, match="for other runs than this one"):
        refuse_other_features(config, features_of(config), CELL, "now", first)


def test_a_perturbed_file_names_its_perturbation(config: Config, tmp_path: Path) -> None:
    perturbation = Perturbation(3, tmp_path)
    path = perturbation.features(features_of(config))
    refuse_other_features(config, path, CELL, "now", perturbation)


def test_keys_of_other_weights_are_refused(tmp_path: Path) -> None:
    refuse_other_keys(keys_of("now", tmp_path / "a"), FIRST_STAGE, {}, "now")
    with pytest.raises(UserError, match=r"other weights than CLIP has now; run starprompt-first"):
        refuse_other_keys(keys_of("before", tmp_path / "b"), FIRST_STAGE, {}, "now")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numerics", "portable"),
        ("deterministic", True),
        ("precision", "bf16"),
        ("compile", True),
        ("validation", 0.2),
        ("perturbation", 1),
    ],
)
def test_keys_of_other_settings_are_refused(tmp_path: Path, name: str, value: object) -> None:
    """Either way round: the run's, or the keys'."""
    plain = keys_of("now", tmp_path / "a")
    with pytest.raises(UserError, match=rf"with {name}: .* this run asks for {value}; run"):
        refuse_other_keys(plain, FIRST_STAGE, {name: value}, "now")
    changed = keys_of("now", tmp_path / "b", {name: value})
    with pytest.raises(UserError, match=rf"with {name}: {value}, and this run asks for "):
        refuse_other_keys(changed, FIRST_STAGE, {}, "now")
    refuse_other_keys(changed, FIRST_STAGE, {name: value}, "now")


def test_keys_of_other_hyperparameters_are_refused(tmp_path: Path) -> None:
    folder = keys_of("now", tmp_path / "a")
    record = read_record(folder / "record.json")
    values = check_hyperparameters(load_method(FIRST_STAGE), "digits")
    record.method.hyperparameters = values.model_dump(mode="json") | {"gone": 3}
    write_record(folder / "record.json", record)
    refuse_other_keys(folder, FIRST_STAGE, {}, "now", values)
    other = values.model_copy(update={"lr": 0.77})
    with pytest.raises(UserError, match=r"with lr: .* this run asks for 0.77; run"):
        refuse_other_keys(folder, FIRST_STAGE, {}, "now", other)


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
    assert keys_record(FIRST_STAGE, folder, stream_of(folder)) == {
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
        keys_record(FIRST_STAGE, folder, stream_of(folder))


@pytest.mark.parametrize("left", [0, 7, 60, -1])
def test_truncated_keys_are_refused(tmp_path: Path, left: int) -> None:
    folder = first_stage(tmp_path / "a")
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match="is not the file that its run"):
        keys_record(FIRST_STAGE, folder, stream_of(folder))


def test_keys_of_another_seed_in_this_ones_folder_are_refused(tmp_path: Path) -> None:
    """The checkpoint alone, or the whole folder with its record."""
    own, other = first_stage(tmp_path / "a"), first_stage(tmp_path / "b", seed=1996)
    stream = stream_of(own)
    with pytest.raises(UserError, match=r"The keys in .* have another seed"):
        keys_record(FIRST_STAGE, other, stream)
    (other / "checkpoint.safetensors").replace(own / "checkpoint.safetensors")
    with pytest.raises(UserError, match="is not the file that its run"):
        keys_record(FIRST_STAGE, own, stream)


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
        keys_record(FIRST_STAGE, folder, stream)


def test_keys_of_another_method_are_refused(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a", method="linear-probe")
    with pytest.raises(UserError, match="have another method than this run"):
        keys_record(FIRST_STAGE, folder, stream_of(folder))


def test_keys_without_a_record_or_a_checkpoint_are_refused(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a")
    stream = stream_of(folder)
    (folder / "record.json").unlink()
    with pytest.raises(UserError, match=r"record\.json"):
        keys_record(FIRST_STAGE, folder, stream)
    (folder / "checkpoint.safetensors").unlink()
    with pytest.raises(UserError, match="There are no keys at"):
        keys_record(FIRST_STAGE, folder, stream)


def test_a_folder_a_device_or_a_dangling_link_in_place_of_keys_is_refused(tmp_path: Path) -> None:
    folder = first_stage(tmp_path / "a")
    stream = stream_of(folder)
    path = folder / "checkpoint.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        keys_record(FIRST_STAGE, folder, stream)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"cannot be read \(it is not a regular file\)"):
        keys_record(FIRST_STAGE, folder, stream)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="There are no keys at"):
        keys_record(FIRST_STAGE, folder, stream)
