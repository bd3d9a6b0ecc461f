"""Own images: dirt, splits, names, EXIF, doubles, and `starprompt data add`."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps
from typer.testing import CliRunner

from starprompt.data.cli import app
from starprompt.data.decode import decode
from starprompt.data.own_folder import name_of, parse_tasks
from starprompt.data.prepare import prepare
from starprompt.data.registry import DatasetSpec, load_dataset_spec
from starprompt.data.store import fingerprint, open_prepared
from starprompt.errors import UserError
from tests.helpers.source_makers import FOLDER

SMALL = {"step": "resize", "size": [16, 16]}


def _photo(place: Path, seed: int, form: str = "PNG", **saved: Any) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(place, form, **saved)
    return place


def _classes(folder: Path, names: tuple[str, ...] = ("ant", "bee"), count: int = 4, seed: int = 0):
    for label, name in enumerate(names):
        for i in range(count):
            _photo(folder / name / f"{i}.png", 1000 * seed + 100 * label + i)
    return folder


def _spec(folder: Path, **form: Any) -> DatasetSpec:
    given = {"kind": "image-folder", "folder": str(folder), "test_share": 0.25} | form
    given = {key: value for key, value in given.items() if value is not None}
    value = {
        "name": "mine",
        "title": "Mine",
        "tasks": 1,
        "sources": [{"format": given}],
        "stored": {"train": [SMALL], "test": [SMALL]},
    }
    return DatasetSpec.model_validate_json(json.dumps(value))


def _prepared(folder: Path, root: Path, **form: Any):
    return open_prepared(prepare(_spec(folder, **form), root, workers=1))


def test_what_is_hidden_or_no_image_is_never_taken_and_is_named(tmp_path):
    folder = _classes(tmp_path / "images")
    _photo(folder / ".ipynb_checkpoints" / "0-checkpoint.png", 1)
    _photo(folder / "__MACOSX" / "ant" / "0.png", 2)
    _photo(folder / "ant" / "._0.png", 3)
    _photo(folder / "ant" / ".thumbs" / "0.png", 4)
    _photo(folder / "stray.png", 5)
    for name in (
        ".DS_Store",
        "ant/.DS_Store",
        "bee/Thumbs.db",
        "bee/notes.txt",
        "ant/a.heic",
        "ant/b.JFIF",
    ):
        (folder / name).write_bytes(b"x")
    (folder / "bee" / "c.avif").write_bytes(b"x")
    (folder / "bee" / "nowhere.png").symlink_to("none.png")
    prepared = _prepared(folder, tmp_path)
    assert prepared.class_names == ("ant", "bee")
    assert prepared.manifest["counts"] == {"train": 6, "test": 2}
    ignored = prepared.manifest["source"]["provenance"]["ignored"]
    unread = ignored["images in formats that are not read"]
    assert sorted(unread["names"]) == ["a.heic", "b.JFIF", "c.avif"]
    assert ignored["images outside of the classes' folders"] == {"count": 1, "names": ["stray.png"]}
    assert ignored["no images"] == {"count": 1, "names": ["notes.txt"]}
    assert ignored["no regular files"]["names"] == ["nowhere.png"]
    hidden = sorted(ignored["hidden or left by a program"]["names"])
    at_top, within = [".DS_Store", ".ipynb_checkpoints", "__MACOSX"], ["._0.png", ".DS_Store"]
    assert hidden == sorted([*at_top, *within, ".thumbs", "Thumbs.db"])


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "TEST"),
        ("training", "testing"),
        ("train", "val"),
        ("train", "Validation"),
        ("images/train", "images/test"),
        ("a/b/train", "a/b/valid"),
        ("train/photos", "test/photos"),
    ],
)
def test_splits_at_the_top_are_understood_in_any_case_and_below_one_folder(tmp_path, train, test):
    folder = tmp_path / "mine"
    _classes(folder / train, count=3)
    _classes(folder / test, count=2, seed=1)
    prepared = _prepared(folder, tmp_path, test_share=None)
    assert prepared.class_names == ("ant", "bee")
    assert prepared.manifest["counts"] == {"train": 6, "test": 4}


def test_a_validation_part_beside_a_test_part_is_not_used_and_counted(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        _classes(tmp_path / "mine" / split, seed=number)
    prepared = _prepared(tmp_path / "mine", tmp_path, test_share=None)
    notes = prepared.manifest["source"]["provenance"]["notes"]
    assert notes == ["val is not used (8 images)"]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/ant", "test/ant", "bee"), "has test, train beside bee"),
        (("train/ant", "cat", "dog"), "has train beside cat, dog"),
        (("train/ant", "Training/ant", "test/ant"), "has both 'Training' and 'train'"),
        (("val/ant", "test/ant"), "has the split test, val alone"),
        (("train/ant", "test/bee"), "has classes that .* has not: bee"),
    ],
)
def test_splits_that_cannot_be_told_from_classes_are_refused(tmp_path, folders, message):
    for seed, name in enumerate(folders):
        _photo(tmp_path / "mine" / name / "0.png", seed)
        _photo(tmp_path / "mine" / name / "1.png", seed + 100)
    with pytest.raises(UserError, match=message):
        _prepared(tmp_path / "mine", tmp_path)


def test_a_single_class_folder_is_a_class_and_not_a_folder_above(tmp_path):
    _classes(tmp_path / "mine", ("ant",))
    assert _prepared(tmp_path / "mine", tmp_path).class_names == ("ant",)


@pytest.mark.parametrize(
    "names",
    [("cat a", "cat_a"), ("caf\u00e9", "cafe\u0301"), ("Cat", "cat"), ("cat  a", "cat a")],
)
def test_folders_whose_names_become_one_class_are_refused(tmp_path, names):
    _classes(tmp_path / "mine", names)
    with pytest.raises(UserError, match="are one and the same; rename one folder"):
        _prepared(tmp_path / "mine", tmp_path)


@pytest.mark.parametrize("name", [b"a\xff", b"a\nb", b"a\x1bb"])
def test_a_folder_whose_name_no_table_can_show_is_refused(tmp_path, name):
    folder = _classes(tmp_path / "mine")
    (folder / "ant").rename(folder / os.fsdecode(name))
    with pytest.raises(UserError, match="names no class") as caught:
        _prepared(folder, tmp_path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")


def test_classes_without_images_are_found_before_anything_is_decoded(tmp_path):
    folder = _classes(tmp_path / "mine", ("ant", "bee", "cow", "dog"))
    shutil.rmtree(folder / "bee")
    (folder / "bee").mkdir()
    for image in list((folder / "cow").iterdir())[1:]:
        image.unlink()
    with pytest.raises(UserError, match="'bee' has not a training image"):
        _prepared(folder, tmp_path)
    shutil.rmtree(folder / "bee")
    with pytest.raises(UserError, match="'cow' has not an image to test on"):
        _prepared(folder, tmp_path)


def test_all_bad_images_are_named_in_one_attempt(tmp_path):
    folder = _classes(tmp_path / "mine", count=8)
    bad = [folder / "ant" / "1.png", folder / "ant" / "6.png", folder / "bee" / "3.png"]
    for path in bad:
        path.write_bytes(path.read_bytes()[:60])
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "bee" / "f.tiff")
    with pytest.raises(UserError, match="4 of its images cannot be decoded") as caught:
        _prepared(folder, tmp_path)
    for path in (*bad, folder / "bee" / "f.tiff"):
        assert str(path) in str(caught.value)
    assert "floating-point numbers" in str(caught.value)
    prepared = open_prepared(prepare(_spec(folder), tmp_path, skip_corrupt=True, workers=1))
    assert sum(len(part) for part in prepared.manifest["skipped"].values()) == 4
    assert sum(prepared.manifest["counts"].values()) == 13


def test_a_class_whose_only_images_are_bad_is_refused_when_they_are_skipped(tmp_path):
    folder = tmp_path / "mine"
    _classes(folder / "train", ("ant", "bee"))
    _classes(folder / "test", ("ant", "bee"), count=1, seed=1)
    (folder / "test" / "bee" / "0.png").write_bytes(b"x")
    with pytest.raises(UserError, match="'bee' has not an image to test on"):
        prepare(_spec(folder, test_share=None), tmp_path, skip_corrupt=True, workers=1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_that_of_pil(form, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue()))).convert("RGB")
    np.testing.assert_array_equal(decode(buffer.getvalue(), upright=True), np.asarray(turned))


def test_exif_is_applied_to_own_folders_and_can_be_switched_off(tmp_path):
    folder = _classes(tmp_path / "mine")
    exif = Image.Exif()
    exif[0x112] = 6
    for i in range(4):
        _photo(folder / "ant" / f"{i}.png", i, exif=exif)
    turned = _prepared(folder, tmp_path)
    assert sorted(turned.train.sizes.tolist()) == [[20, 24]] * 3 + [[24, 20]] * 3
    as_it_was = _prepared(folder, tmp_path, exif=False)
    assert as_it_was.train.sizes.tolist() == [[20, 24]] * 6
    assert turned.digest != as_it_was.digest


def test_the_key_for_exif_leaves_fingerprints_of_before_as_they_were(tmp_path):
    """Own images prepared as they were read before the key, and all published sets, stay valid."""
    known = {
        "digits": "eb6c737e29b64b8b6806edfa23050b9456e62003cfdde80a44c1d731e13e26f4",
        "cub200": "51454048669c5696460f76612cc51be77bacde81a1a0bb008bc45d5ff208576a",
    }
    for name, expected in known.items():
        assert fingerprint(load_dataset_spec(name, FOLDER)) == expected
    off, on = _spec(Path("/x"), exif=False), _spec(Path("/x"))
    assert fingerprint(off) == "dde06fe104f8235ceaaa2456f45b5e2499b0605182262ef3203896662f838f0b"
    assert fingerprint(on) != fingerprint(off)


def test_equal_images_are_counted_and_named(tmp_path):
    folder = tmp_path / "mine"
    _classes(folder / "train")
    _classes(folder / "test", count=2, seed=1)
    shutil.copy(folder / "train" / "ant" / "0.png", folder / "test" / "ant" / "copy.png")
    shutil.copy(folder / "train" / "bee" / "1.png", folder / "train" / "ant" / "bee.png")
    equal = _prepared(folder, tmp_path, test_share=None).manifest["equal_images"]
    assert equal["train_and_test"]["count"] == 1
    (group,) = equal["train_and_test"]["names"]
    assert [Path(name).name for name in group] == ["0.png", "copy.png"]
    assert equal["across_classes"]["count"] == 2
    (group,) = equal["across_classes"]["names"]
    assert {Path(name).name for name in group} == {"bee.png", "1.png"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_of_names_in_usual_encodings(tmp_path, encoding):
    folder = _classes(tmp_path / "mine")
    (folder / "names.txt").write_bytes("\u00c4ffchen\r\nBiene\r\n".encode(encoding))
    prepared = _prepared(folder, tmp_path, class_names="names.txt")
    assert prepared.class_names == ("\u00c4ffchen", "Biene")


def test_names_in_another_order_than_the_folders_are_noted(tmp_path):
    folder = _classes(tmp_path / "mine", ("ant_a", "bee", "cow"))
    (folder / "names.txt").write_text("Bee\nAnt a\ncow\n")
    prepared = _prepared(folder, tmp_path, class_names="names.txt")
    (note,) = prepared.manifest["source"]["provenance"]["notes"]
    assert "another order" in note
    assert "'Bee' names the folder 'ant_a'" in note
    (folder / "names.txt").write_text("one\ntwo\none\n")
    with pytest.raises(UserError, match=r"names\.txt: the class names 'one' and 'one'"):
        _prepared(folder, tmp_path, class_names="names.txt")


def test_a_changed_file_of_names_is_prepared_again(tmp_path):
    folder = _classes(tmp_path / "mine")
    (folder / "names.txt").write_text("one\ntwo\n")
    _prepared(folder, tmp_path, class_names="names.txt")
    (folder / "names.txt").write_text("three\nfour\n")
    assert _prepared(folder, tmp_path, class_names="names.txt").class_names == ("three", "four")


@pytest.mark.parametrize(
    ("tasks", "ends"),
    [
        (2, (5, 10)),
        ([3, 3, 4], (3, 6, 10)),
        ({"first": 4, "increment": 2}, (4, 6, 8, 10)),
        ({"first": 10, "increment": 5}, (10,)),
        ({"first": 1, "increment": 9}, (1, 10)),
    ],
)
def test_streams_as_the_field_states_them(tasks, ends):
    spec = load_dataset_spec("digits", FOLDER).model_dump(mode="json") | {"tasks": tasks}
    read = DatasetSpec.model_validate_json(json.dumps(spec))
    assert read.task_ends(10) == ends
    assert read.task_count == len(ends)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"first": 5, "increment": 2}, "does not end at 10 classes"),
        ({"first": 11, "increment": 1}, "does not end at 10 classes"),
        ({"first": 0, "increment": 1}, "tasks"),
        ({"first": 5}, "tasks"),
        ({"first": 5, "increment": 5, "last": 1}, "tasks"),
        ({"first": 5.0, "increment": 5}, "tasks"),
    ],
)
def test_streams_that_do_not_add_up_are_refused(tmp_path, tasks, message):
    value = yaml.safe_load((FOLDER / "digits.yaml").read_text()) | {"tasks": tasks}
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(UserError, match=message):
        load_dataset_spec("digits", tmp_path)


def _run(*words: str) -> tuple[str, BaseException | None]:
    result = CliRunner().invoke(app, list(words))
    return result.stdout, result.exception


def _add(folder: Path, tmp_path: Path, *words: str) -> tuple[str, BaseException | None]:
    places = ["--root", str(tmp_path / "data"), "--datasets", str(tmp_path / "datasets")]
    return _run("add", str(folder), *places, "--threads", "1", *words)


def test_data_add_writes_prepares_and_shows_what_it_took(tmp_path):
    folder = _classes(tmp_path / "My Photos (2)", tuple("abcdefghij"))
    (folder / "a" / "x.heic").write_bytes(b"x")
    text, error = _add(folder, tmp_path)
    assert error is None, text
    assert f"wrote {tmp_path}/datasets/my-photos-2.yaml" in text
    assert "taken: 30 training and 10 test images of 10 classes" in text
    assert "ignored, images in formats that are not read: 1 (x.heic)" in text
    assert "tasks: 5 (2, 2, 2, 2, 2 classes); view: 224 pixels" in text
    spec = load_dataset_spec("my-photos-2", tmp_path / "datasets")
    assert spec.title == "My photos 2"
    assert spec.stored.train[0].size == (24, 24), "small images keep their size"
    open_prepared(tmp_path / "data" / "prepared" / "my-photos-2")
    _, error = _add(folder, tmp_path)
    assert "give another --name" in str(error)
    text, error = _add(folder, tmp_path, "--name", "other", "--tasks", "6+2", "--size", "64")
    assert "tasks: 3 (6, 2, 2 classes); view: 64 pixels" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Bad Name"], "is no name for a data set"),
        (["--name", "../x"], "is no name for a data set"),
        (["--tasks", "many"], "is none of 5"),
        (["--tasks", "7"], "7 tasks are more than the 2 classes"),
        (["--title", "a\nb"], "title: it holds the character"),
        (["--test-share", "1.5"], "test_share"),
    ],
)
def test_a_mistake_in_data_add_is_one_sentence_and_writes_nothing(tmp_path, words, message):
    folder = _classes(tmp_path / "mine")
    _, error = _add(folder, tmp_path, *words)
    assert isinstance(error, UserError)
    assert message in str(error)
    assert not list(tmp_path.glob("datasets/*"))
    assert not list(tmp_path.glob("data/*"))


def test_data_add_of_images_that_cannot_be_decoded_writes_no_description(tmp_path):
    folder = _classes(tmp_path / "mine")
    (folder / "ant" / "0.png").write_bytes(b"x")
    _, error = _add(folder, tmp_path)
    assert "1 of its images cannot be decoded" in str(error)
    assert not list(tmp_path.glob("datasets/*"))
    text, error = _add(folder, tmp_path, "--skip-corrupt")
    assert error is None
    assert "left out, cannot be decoded: 1" in text


def test_names_and_tasks_as_a_person_types_them():
    assert name_of(Path("/x/My Photos (2)")) == "my-photos-2"
    with pytest.raises(UserError, match="--name"):
        name_of(Path("/x/###"))
    assert parse_tasks("10") == 10
    assert parse_tasks("4,3,3") == [4, 3, 3]
    assert parse_tasks("50+10") == {"first": 50, "increment": 10}
    for text in ("", "a", "1,", "+5", "5+", "-1", "9" * 9, "1e3", "1.5"):
        with pytest.raises(UserError, match="correct it"):
            parse_tasks(text)
