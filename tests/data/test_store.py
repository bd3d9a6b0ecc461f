"""Prepared data on disk: damaged, swapped or foreign files are refused."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from starprompt.data.registry import load_dataset_spec
from starprompt.data.store import fingerprint, open_prepared
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from starprompt.files import digest_of
from tests.helpers.damage import add, cut, flip_a_bit, replace_by_folder, zero_a_tenth
from tests.helpers.image_folders import folder_spec
from tests.helpers.small_stream import SPEC
from tests.helpers.source_makers import FOLDER


def test_the_key_for_exif_leaves_fingerprints_of_before_as_they_were(tmp_path):
    """Own images prepared as they were read before the key, and all published sets, stay valid."""
    known = {
        "digits": "eb6c737e29b64b8b6806edfa23050b9456e62003cfdde80a44c1d731e13e26f4",
        "cub200": "51454048669c5696460f76612cc51be77bacde81a1a0bb008bc45d5ff208576a",
    }
    for name, expected in known.items():
        assert fingerprint(load_dataset_spec(name, FOLDER)) == expected
    off, on = folder_spec(Path("/x"), exif=False), folder_spec(Path("/x"))
    assert fingerprint(off) == "dde06fe104f8235ceaaa2456f45b5e2499b0605182262ef3203896662f838f0b"
    assert fingerprint(on) != fingerprint(off)


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


DAMAGES = [zero_a_tenth, flip_a_bit, cut, add, _swap, _remove, replace_by_folder]
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


@pytest.mark.parametrize("damage", [zero_a_tenth, cut, lambda p: p.write_text("{}")])
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


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_giant_that_is_all_holes_is_refused_by_its_size(copied, name):
    os.truncate(copied / name, 10**13)
    with pytest.raises(UserError, match=r"`starprompt data prepare digits`"):
        _read_all(copied)


def test_a_missing_or_damaged_preparation_says_what_to_run(digits, tmp_path):
    with pytest.raises(UserError, match="starprompt data prepare digits"):
        open_prepared(tmp_path / "digits")
    folder = tmp_path / "copy" / "digits"
    shutil.copytree(digits.folder, folder)
    (folder / "train_images.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="damaged"):
        open_prepared(folder)
    (folder / "manifest.json").write_text(json.dumps({"format_version": 0}))
    with pytest.raises(UserError, match="format 0"):
        open_prepared(folder)
