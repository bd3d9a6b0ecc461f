"""Prepared images and cached features: what was zeroed, swapped, cut or is foreign is refused."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from starprompt.backbones.clip import load_clip
from starprompt.backbones.embedding import write_embedding
from starprompt.data.features import Features
from starprompt.data.prepare import prepare
from starprompt.data.store import open_prepared
from starprompt.data.stored_images import CHUNK_ROWS, Digests, StoredImages, chunk_digests
from starprompt.data.stream import TaskStream, view_digest
from starprompt.data.transforms import TestView
from starprompt.errors import UserError
from starprompt.files import digest_of
from tests.helpers.small_stream import SPEC


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return prepare(SPEC, tmp_path_factory.mktemp("data"), workers=1)


@pytest.fixture
def copied(digits, tmp_path) -> Path:
    return Path(shutil.copytree(digits, tmp_path / "prepared" / "digits"))


@pytest.fixture
def without_chunks(copied) -> Path:
    """As an earlier version prepared it: a checksum of each file, none of chunks."""
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["chunks"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    return copied


def _read_all(folder: Path) -> None:
    stream = TaskStream(open_prepared(folder), SPEC, 1993)
    for task in stream:
        for part in (task.train, task.test):
            for _ in part.batches(64):
                pass


def test_rows_are_read_as_a_map_gives_them(digits):
    stored = open_prepared(digits).train.images
    mapped = np.load(digits / "train_images.npy", mmap_mode="r")
    assert stored.shape == mapped.shape
    assert len(stored) == len(mapped)
    rows = np.random.default_rng(0).permutation(len(mapped))[:100]
    for key in (rows, slice(3, 40), slice(None, None, 97), np.arange(5, 60), np.array([], int)):
        np.testing.assert_array_equal(stored[key], mapped[key])
    for row in (0, -1, np.int64(7)):
        np.testing.assert_array_equal(stored[row], mapped[row])
    np.testing.assert_array_equal(np.asarray(stored), mapped)
    with pytest.raises(IndexError):
        stored[len(mapped)]


def test_the_manifest_has_a_digest_of_every_chunk(digits):
    manifest = open_prepared(digits).manifest
    for split in ("train", "test"):
        path = digits / f"{split}_images.npy"
        assert manifest["chunks"][split] == chunk_digests(path, 1)[0]
        assert len(manifest["chunks"][split]) == -(-manifest["counts"][split] // CHUNK_ROWS)


def test_only_the_chunks_that_are_read_are_checked(copied):
    path = copied / "train_images.npy"
    with path.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"\x07" * 10)
    stored = open_prepared(copied).train.images
    stored[np.arange(CHUNK_ROWS)]
    with pytest.raises(UserError, match=r"images 1280 and following are not those prepared"):
        stored[len(stored) - 1]


def _zero_a_tenth(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size // 10))


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _add(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _swap(path: Path) -> None:
    """The other split's file of the same kind."""
    split = "test" if path.name.startswith("train") else "train"
    other = path.with_name(path.name.replace(path.name.partition("_")[0], split))
    if path.name == "class_names.json":
        path.write_text(json.dumps(json.loads(path.read_text())[::-1]))
    else:
        path.write_bytes(other.read_bytes())


def _remove(path: Path) -> None:
    path.unlink()


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [_zero_a_tenth, _flip_a_bit, _cut, _add, _swap, _remove, _replace_by_folder]
FILES = ["class_names.json"] + [
    f"{split}_{part}.npy" for split in ("train", "test") for part in ("images", "labels", "sizes")
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__.strip("_"))
@pytest.mark.parametrize("chunks", [True, False])
def test_a_damaged_file_of_prepared_data_is_never_trained_upon(
    copied, name, damage, chunks, request
):
    folder = copied if chunks else request.getfixturevalue("without_chunks")
    damage(folder / name)
    with pytest.raises(UserError, match=r"prepared/digits.*`starprompt data prepare digits`"):
        _read_all(folder)


def test_what_an_earlier_version_prepared_stays_valid(without_chunks):
    _read_all(without_chunks)


@pytest.mark.parametrize("damage", [_zero_a_tenth, _cut, lambda p: p.write_text("{}")])
def test_a_damaged_manifest_is_named(copied, damage):
    damage(copied / "manifest.json")
    with pytest.raises(UserError, match=r"`starprompt data prepare digits`"):
        open_prepared(copied)


def test_a_manifest_of_another_data_set_or_description_is_refused(copied):
    other = copied.rename(copied.with_name("scans"))
    with pytest.raises(UserError, match="its manifest is that of 'digits'"):
        open_prepared(other)
    other.rename(copied)
    changed = SPEC.model_copy(update={"class_names": [f"d{i}" for i in range(10)]})
    with pytest.raises(UserError, match="prepared from another description"):
        TaskStream(open_prepared(copied), changed, 1993)
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["sha256"]["train_labels.npy"] = "0" * 64
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="contradicts itself"):
        open_prepared(copied)


def test_labels_beyond_the_classes_are_refused_even_with_their_digest(copied):
    labels = np.load(copied / "train_labels.npy")
    labels[3] = 10
    np.save(copied / "train_labels.npy", labels)
    manifest = json.loads((copied / "manifest.json").read_text())
    import hashlib

    data = (copied / "train_labels.npy").read_bytes()
    manifest["sha256"]["train_labels.npy"] = hashlib.sha256(data).hexdigest()
    manifest["digest"] = digest_of(manifest["sha256"])
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="labels beyond the 10 classes"):
        open_prepared(copied)


def test_a_file_that_shrinks_or_changes_while_it_is_read_ends_in_a_sentence(copied):
    stored = open_prepared(copied).train.images
    stored[np.arange(20)]
    path = copied / "train_images.npy"
    data = path.read_bytes()
    os.truncate(path, len(data) // 3)
    with pytest.raises(UserError, match="cut short while it was read"):
        stored[np.arange(1000, 1100)]
    path.write_bytes(data)
    stored[np.arange(1000, 1100)]
    _zero_a_tenth(path)
    with pytest.raises(UserError, match="are not those prepared"):
        stored[:]


def test_a_file_that_is_no_map_of_images_is_refused_at_once(tmp_path):
    for array in (np.zeros((2, 3, 4)), np.zeros((2, 3, 4, 4)), np.zeros((2, 1, 4, 4), np.uint8)):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(ValueError, match=r"x\.npy holds"):
            StoredImages(tmp_path / "x.npy", Digests("0" * 64))


@pytest.fixture(scope="module")
def features(digits, tmp_path_factory) -> Path:
    data = open_prepared(digits)
    return write_embedding(
        tmp_path_factory.mktemp("embedding") / "tiny.safetensors",
        load_clip("tiny"),
        data.train.images,
        data.test.images,
        TestView(tuple(SPEC.test_transform)),
        data.digest,
        progress=False,
        view_digest=view_digest(SPEC),
    )


def _resaved(path: Path, out: Path, change, keep_digest: bool = True) -> Path:
    """The features with changed tensors under the old header, as damage has it."""
    metadata = Features.describe(path)
    if not keep_digest:
        del metadata["sha256"]
    tensors = load_file(path)
    save_file({k: v.contiguous() for k, v in change(tensors).items()}, out, metadata=metadata)
    return out


def _zeroed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["train.clip"][:143] = 0
    return tensors


def _kinds_swapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["train.clip"], tensors["train.query"] = tensors["train.query"], tensors["train.clip"]
    tensors["train.query"][0] += 1
    return tensors


def _rows_swapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["train.clip"] = tensors["train.clip"].flip(0)
    return tensors


def _one_number(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["test.query"][5, 3] += 1e-6
    return tensors


def _lost(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != "test.query"}


def _short(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"train.clip": tensors["train.clip"][:-1]}


@pytest.mark.parametrize(
    "change", [_zeroed, _kinds_swapped, _rows_swapped, _one_number, _lost, _short]
)
def test_changed_features_are_never_trained_upon(digits, features, tmp_path, change):
    changed = _resaved(features, tmp_path / "x.safetensors", change)
    with pytest.raises(
        UserError, match=r"x\.safetensors are damaged .* run `starprompt embed` again"
    ):
        TaskStream(open_prepared(digits), SPEC, 1993, embedding=changed)


@pytest.mark.parametrize("damage", [_zero_a_tenth, _flip_a_bit, _cut, _add, _replace_by_folder])
def test_a_damaged_file_of_features_is_one_sentence(digits, features, tmp_path, damage):
    path = Path(shutil.copy(features, tmp_path / "x.safetensors"))
    damage(path)
    with pytest.raises(UserError, match=r"x\.safetensors"):
        TaskStream(open_prepared(digits), SPEC, 1993, embedding=path)


def test_features_of_another_view_are_refused(digits, features):
    step = {"step": "center_crop", "size": 64}
    from starprompt.data.steps import CenterCrop

    other = SPEC.model_copy(update={"test_transform": [CenterCrop.model_validate(step)]})
    with pytest.raises(UserError, match="of another test view"):
        TaskStream(open_prepared(digits), other, 1993, embedding=features)


def test_features_of_an_earlier_version_are_read_and_the_worst_damage_is_seen(
    digits, features, tmp_path, caplog
):
    caplog.set_level("INFO")
    old = _resaved(features, tmp_path / "x.safetensors", lambda tensors: tensors, False)
    TaskStream(open_prepared(digits), SPEC, 1993, embedding=old)
    assert "has no checksum; `starprompt embed` writes one anew" in caplog.text
    _resaved(features, old, _zeroed, False)
    with pytest.raises(UserError, match="zero throughout"):
        TaskStream(open_prepared(digits), SPEC, 1993, embedding=old)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_giant_that_is_all_holes_is_refused_by_its_size(copied, name):
    os.truncate(copied / name, 10**13)
    with pytest.raises(UserError, match=r"`starprompt data prepare digits`"):
        _read_all(copied)


def test_giant_features_are_refused_by_their_size(digits, features, tmp_path):
    path = Path(shutil.copy(features, tmp_path / "x.safetensors"))
    os.truncate(path, 10**13)
    with pytest.raises(UserError, match="another size than its features"):
        TaskStream(open_prepared(digits), SPEC, 1993, embedding=path)
