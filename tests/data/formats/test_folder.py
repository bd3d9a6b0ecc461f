"""Own folders of images: hidden files, splits, names, and mistakes."""

import os
import shutil

import pytest

from starprompt.data.prepare import prepare
from starprompt.errors import UserError
from tests.helpers.image_folders import class_folders, prepare_folder, save_photo
from tests.helpers.own_images import own_images, own_spec


def test_mistakes_in_an_own_folder_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no folder of images at"):
        prepare(own_spec(tmp_path, tmp_path / "none"), tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(UserError, match="has no class folders"):
        prepare(own_spec(tmp_path, folder), tmp_path)
    own_images(folder)
    with pytest.raises(UserError, match="no train and test folders"):
        prepare(own_spec(tmp_path, folder, test_share=None), tmp_path)
    (folder / "names.txt").write_text("one\n")
    with pytest.raises(UserError, match="1 names for 4 class folders"):
        prepare(own_spec(tmp_path, folder, class_names="names.txt"), tmp_path)
    spec = own_spec(tmp_path, folder).model_copy(update={"classes": 5})
    with pytest.raises(UserError, match=r"description states 5 classes, .* has 4"):
        prepare(spec, tmp_path)
    unstored = own_spec(tmp_path, folder)
    unstored = unstored.model_copy(update={"stored": type(unstored.stored)()})
    with pytest.raises(UserError, match="give the data set a `stored` size"):
        prepare(unstored, tmp_path)


def test_what_is_hidden_or_no_image_is_never_taken_and_is_named(tmp_path):
    folder = class_folders(tmp_path / "images")
    save_photo(folder / ".ipynb_checkpoints" / "0-checkpoint.png", 1)
    save_photo(folder / "__MACOSX" / "ant" / "0.png", 2)
    save_photo(folder / "ant" / "._0.png", 3)
    save_photo(folder / "ant" / ".thumbs" / "0.png", 4)
    save_photo(folder / "stray.png", 5)
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
    prepared = prepare_folder(folder, tmp_path)
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
    class_folders(folder / train, count=3)
    class_folders(folder / test, count=2, seed=1)
    prepared = prepare_folder(folder, tmp_path, test_share=None)
    assert prepared.class_names == ("ant", "bee")
    assert prepared.manifest["counts"] == {"train": 6, "test": 4}


def test_a_validation_part_beside_a_test_part_is_not_used_and_counted(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        class_folders(tmp_path / "mine" / split, seed=number)
    prepared = prepare_folder(tmp_path / "mine", tmp_path, test_share=None)
    notes = prepared.manifest["source"]["provenance"]["notes"]
    assert notes == ["val is not used (8 images)"]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/ant", "test/ant", "bee"), "mixes the split test, train with other folders, bee"),
        (("train/ant", "cat", "dog"), "mixes the split train with other folders, cat, dog"),
        (("train/ant", "Training/ant", "test/ant"), "has both 'Training' and 'train'"),
        (("val/ant", "test/ant"), "has only the split test, val"),
        (("train/ant", "test/bee"), "has classes that .* lacks: bee"),
    ],
)
def test_splits_that_cannot_be_told_from_classes_are_refused(tmp_path, folders, message):
    for seed, name in enumerate(folders):
        save_photo(tmp_path / "mine" / name / "0.png", seed)
        save_photo(tmp_path / "mine" / name / "1.png", seed + 100)
    with pytest.raises(UserError, match=message):
        prepare_folder(tmp_path / "mine", tmp_path)


def test_a_single_class_folder_is_a_class_and_not_a_folder_above(tmp_path):
    class_folders(tmp_path / "mine", ("ant",))
    assert prepare_folder(tmp_path / "mine", tmp_path).class_names == ("ant",)


@pytest.mark.parametrize(
    "names",
    [("cat a", "cat_a"), ("caf\u00e9", "cafe\u0301"), ("Cat", "cat"), ("cat  a", "cat a")],
)
def test_folders_whose_names_become_one_class_are_refused(tmp_path, names):
    class_folders(tmp_path / "mine", names)
    with pytest.raises(UserError, match="Unicode form; rename one folder") as caught:
        prepare_folder(tmp_path / "mine", tmp_path)
    assert all(repr(name) in str(caught.value) for name in names)


@pytest.mark.parametrize("name", [b"a\xff", b"a\nb", b"a\x1bb"])
def test_a_folder_whose_name_no_table_can_show_is_refused(tmp_path, name):
    folder = class_folders(tmp_path / "mine")
    (folder / "ant").rename(folder / os.fsdecode(name))
    with pytest.raises(UserError, match="cannot name a class") as caught:
        prepare_folder(folder, tmp_path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")


def test_classes_without_images_are_found_before_anything_is_decoded(tmp_path):
    folder = class_folders(tmp_path / "mine", ("ant", "bee", "cow", "dog"))
    shutil.rmtree(folder / "bee")
    (folder / "bee").mkdir()
    for image in list((folder / "cow").iterdir())[1:]:
        image.unlink()
    with pytest.raises(UserError, match="'bee' has no training image"):
        prepare_folder(folder, tmp_path)
    shutil.rmtree(folder / "bee")
    with pytest.raises(UserError, match="'cow' has no test image"):
        prepare_folder(folder, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_of_names_in_usual_encodings(tmp_path, encoding):
    folder = class_folders(tmp_path / "mine")
    (folder / "names.txt").write_bytes("\u00c4ffchen\r\nBiene\r\n".encode(encoding))
    prepared = prepare_folder(folder, tmp_path, class_names="names.txt")
    assert prepared.class_names == ("\u00c4ffchen", "Biene")


def test_names_in_another_order_than_the_folders_are_noted(tmp_path):
    folder = class_folders(tmp_path / "mine", ("ant_a", "bee", "cow"))
    (folder / "names.txt").write_text("Bee\nAnt a\ncow\n")
    prepared = prepare_folder(folder, tmp_path, class_names="names.txt")
    (note,) = prepared.manifest["source"]["provenance"]["notes"]
    assert "another order" in note
    assert "'Bee' names the folder 'ant_a'" in note
    (folder / "names.txt").write_text("one\ntwo\none\n")
    with pytest.raises(UserError, match=r"names\.txt: the class names 'one' and 'one'"):
        prepare_folder(folder, tmp_path, class_names="names.txt")


def test_a_changed_file_of_names_is_prepared_again(tmp_path):
    folder = class_folders(tmp_path / "mine")
    (folder / "names.txt").write_text("one\ntwo\n")
    prepare_folder(folder, tmp_path, class_names="names.txt")
    (folder / "names.txt").write_text("three\nfour\n")
    assert prepare_folder(folder, tmp_path, class_names="names.txt").class_names == (
        "three",
        "four",
    )
