"""Preparation: own folders, damaged images, two at once, what is prepared again."""

import json
import threading

import numpy as np
import pytest
from PIL import Image

from starprompt.data.prepare import prepare
from starprompt.data.registry import load_dataset_spec
from starprompt.data.store import open_prepared
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from tests.helpers.image_folders import class_folders, folder_spec, prepare_folder, save_photo
from tests.helpers.own_images import own_images, own_spec, start_preparing
from tests.helpers.paths import REPOSITORY
from tests.helpers.small_stream import SPEC
from tests.helpers.source_makers import colour, encoded, picture


def test_one_folder_with_a_test_share_becomes_a_stream(tmp_path):
    spec = own_spec(tmp_path, own_images(tmp_path / "images"))
    prepared = open_prepared(prepare(spec, tmp_path))
    assert prepared.class_names == ("class 0", "class 1", "class 2", "class 3")
    assert prepared.manifest["counts_per_class"] == {"train": [3] * 4, "test": [1] * 4}
    assert prepared.train.sizes[:, 1].tolist() == [50] * 12
    for image, label in zip(prepared.train.images, prepared.train.labels, strict=True):
        assert np.abs(image.mean((1, 2)) - colour("train", label)).max() < 4
    stream = TaskStream(prepared, spec, 1993)
    assert stream.info.task_ends == (2, 4)
    assert next(stream[1].train.batches(9, augment=True)).images.shape == (6, 3, 24, 24)


def test_the_documented_description_of_own_images_works(tmp_path):
    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    described = text.split("```yaml\n")[1].split("```")[0]
    folder = own_images(tmp_path / "images")
    (tmp_path / "mine.yaml").write_text(described.replace("/home/me/images", str(folder)))
    spec = load_dataset_spec("mine", tmp_path)
    stream = TaskStream(open_prepared(prepare(spec, tmp_path)), spec, 1997)
    assert [len(task.train) for task in stream] == [6, 6]
    batch = next(stream[1].train.batches(4, augment=True))
    assert batch.images.shape == (4, 3, 224, 224)
    assert next(stream[0].test.batches(4)).images.shape == (2, 3, 224, 224)


def test_train_and_test_folders_and_a_file_of_names(tmp_path):
    folder = tmp_path / "images"
    own_images(folder / "train", 2)
    own_images(folder / "test", 1, split="test")
    (folder / "names.txt").write_text("ant\nbee\ncow\ndog\n")
    spec = own_spec(tmp_path, folder, test_share=None, class_names="names.txt")
    prepared = open_prepared(prepare(spec, tmp_path))
    assert prepared.class_names == ("ant", "bee", "cow", "dog")
    assert prepared.test.labels.tolist() == [0, 1, 2, 3]
    assert np.abs(prepared.test.images[2].mean((1, 2)) - colour("test", 2)).max() < 4


def test_a_changed_folder_is_prepared_again_and_an_absent_one_is_not_missed(tmp_path):
    folder = own_images(tmp_path / "images")
    spec = own_spec(tmp_path, folder)
    first = open_prepared(prepare(spec, tmp_path)).digest
    assert open_prepared(prepare(spec, tmp_path)).digest == first
    (folder / "class_0" / "new.png").write_bytes(encoded(picture("test", 9, 30, 30), "PNG"))
    second = open_prepared(prepare(spec, tmp_path))
    assert second.digest != first
    assert sum(second.manifest["counts"].values()) == 17
    folder.rename(tmp_path / "away")
    assert open_prepared(prepare(spec, tmp_path)).digest == second.digest


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_corrupt_image_is_named_and_left_out_on_request(tmp_path, damage):
    folder = own_images(tmp_path / "images")
    bad = folder / "class_1" / "0002.jpg"
    data = bad.read_bytes()
    bad.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"<html>"}[damage])
    spec = own_spec(tmp_path, folder)
    with pytest.raises(UserError, match=r"class_1/0002\.jpg.*--skip-corrupt"):
        prepare(spec, tmp_path)
    assert not (tmp_path / "prepared" / "mine").exists()
    prepared = open_prepared(prepare(spec, tmp_path, skip_corrupt=True))
    assert sum(prepared.manifest["counts"].values()) == 15
    skipped = prepared.manifest["skipped"]["train"] + prepared.manifest["skipped"]["test"]
    assert len(skipped) == 1
    assert "class_1/0002.jpg" in skipped[0]
    for split in (prepared.train, prepared.test):
        assert len(split.images) == len(split.labels) == len(split.sizes)
        for image, label in zip(split.images, split.labels, strict=True):
            assert np.abs(image.mean((1, 2)) - colour("train", label)).max() < 4


def test_two_at_once_wait_for_each_other(tmp_path):
    spec = own_spec(tmp_path, own_images(tmp_path / "images", per_class=60))
    root = tmp_path / "data"
    processes = [start_preparing(tmp_path / "datasets", root) for _ in range(2)]
    other = threading.Thread(target=prepare, args=(spec, root))
    other.start()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    other.join()
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sum(open_prepared(root / "prepared" / "mine").manifest["counts"].values()) == 240


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 1, "splits": []}', "[[[", "null"])
def test_damaged_notes_of_a_preparation_are_written_anew(tmp_path, text):
    note = tmp_path / "prepared" / ".mine.work" / "progress.json"
    note.parent.mkdir(parents=True)
    note.write_text(text)
    spec = own_spec(tmp_path, own_images(tmp_path / "images"))
    assert open_prepared(prepare(spec, tmp_path)).manifest["counts"]["train"] == 12


def test_damaged_counts_of_first_preparations_are_named_before_anything_is_decoded(tmp_path):
    counts = tmp_path / "prepared" / "counts.json"
    counts.parent.mkdir()
    counts.write_text("[]")
    spec = own_spec(tmp_path, own_images(tmp_path / "images"))
    with pytest.raises(UserError, match=r"counts\.json is damaged .*; restore it, or remove it"):
        prepare(spec, tmp_path)
    assert counts.read_text() == "[]"
    assert not (tmp_path / "prepared" / ".mine.work").exists()
    counts.unlink()
    prepare(spec, tmp_path)
    assert json.loads(counts.read_text()) == {"mine": {"train": 12, "test": 4}}


@pytest.mark.parametrize("name", ["mine", ".mine.work", ".mine.lock", "."])
def test_a_file_where_a_folder_should_be_and_the_reverse_are_one_sentence(tmp_path, name):
    spec = own_spec(tmp_path, own_images(tmp_path / "images"))
    place = tmp_path / "prepared" / name
    place.parent.mkdir(exist_ok=True)
    if name == ".mine.lock":
        place.mkdir()
    elif name == ".":
        (tmp_path / "prepared").rmdir() if (tmp_path / "prepared").is_dir() else None
        (tmp_path / "prepared").touch()
    else:
        place.touch()
    with pytest.raises(UserError, match="prepared"):
        prepare(spec, tmp_path)


def test_all_bad_images_are_named_in_one_attempt(tmp_path):
    folder = class_folders(tmp_path / "mine", count=8)
    bad = [folder / "ant" / "1.png", folder / "ant" / "6.png", folder / "bee" / "3.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:60])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "bee" / "f.tiff")
    with pytest.raises(UserError, match="4 of its images cannot be decoded") as caught:
        prepare_folder(folder, tmp_path)
    for path in (*bad, folder / "bee" / "f.tiff"):
        assert str(path) in str(caught.value)
    assert "floating-point numbers" in str(caught.value)
    prepared = open_prepared(prepare(folder_spec(folder), tmp_path, skip_corrupt=True, workers=1))
    assert sum(len(part) for part in prepared.manifest["skipped"].values()) == 4
    assert sum(prepared.manifest["counts"].values()) == 13


def test_a_class_whose_only_images_are_bad_is_refused_when_they_are_skipped(tmp_path):
    folder = tmp_path / "mine"
    class_folders(folder / "train", ("ant", "bee"))
    class_folders(folder / "test", ("ant", "bee"), count=1, seed=1)
    (folder / "test" / "bee" / "0.png").write_bytes(b"x")
    with pytest.raises(UserError, match="'bee' has no test image"):
        prepare(folder_spec(folder, test_share=None), tmp_path, skip_corrupt=True, workers=1)


def test_exif_is_applied_to_own_folders_and_can_be_switched_off(tmp_path):
    folder = class_folders(tmp_path / "mine")
    exif = Image.Exif()
    exif[0x112] = 6
    for i in range(4):
        save_photo(folder / "ant" / f"{i}.png", i, exif=exif)
    turned = prepare_folder(folder, tmp_path)
    assert sorted(turned.train.sizes.tolist()) == [[20, 24]] * 3 + [[24, 20]] * 3
    as_it_was = prepare_folder(folder, tmp_path, exif=False)
    assert as_it_was.train.sizes.tolist() == [[20, 24]] * 6
    assert turned.digest != as_it_was.digest


def test_preparing_twice_does_nothing_and_changes_prepare_again(digits, tmp_path):
    root = tmp_path / "data"
    folder = prepare(SPEC, root)
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert open_prepared(folder).digest == digits.digest
    assert prepare(SPEC, root) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp
    renamed = SPEC.model_copy(update={"class_names": [str(i) for i in range(10)]})
    assert open_prepared(prepare(renamed, root)).class_names[3] == "3"
