"""Lists of images: paths are found in an archive by their longest ending, labels stay in order."""

import json
from pathlib import Path

import pytest

from starprompt.data.formats.listed import FileIndex, load_table, read, read_list
from starprompt.data.sources import ListedImages
from starprompt.errors import UserError
from tests.helpers.source_makers import zip_of

LIST = Path("list.yaml")


def _index(folder: Path, *names: str) -> FileIndex:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FileIndex(folder)


def test_a_path_is_found_as_it_stands_or_by_its_longest_ending(tmp_path):
    index = _index(tmp_path, "top/a/1.jpg", "top/b/1.jpg", "top/b/2.jpg", "1.jpg")
    for listed, found in {
        "top/a/1.jpg": "top/a/1.jpg",
        "./top//a/1.jpg": "top/a/1.jpg",
        "data/b/1.jpg": "top/b/1.jpg",
        "elsewhere/top/a/1.jpg": "top/a/1.jpg",
        "b/2.jpg": "top/b/2.jpg",
        "1.jpg": "1.jpg",
    }.items():
        assert index.find(listed, LIST) == tmp_path / found, listed


@pytest.mark.parametrize("listed", ["x/1.jpg", "a/2.jpg", "c/3.jpg", "2.png", "", "."])
def test_a_path_that_shares_a_name_alone_or_is_not_there_is_refused(tmp_path, listed):
    index = _index(tmp_path, "top/a/1.jpg", "top/b/1.jpg", "top/b/2.jpg")
    with pytest.raises(UserError, match="which the archive does not hold"):
        index.find(listed, LIST)


def test_two_paths_as_good_as_each_other_are_refused(tmp_path):
    index = _index(tmp_path, "one/a/1.jpg", "two/a/1.jpg")
    with pytest.raises(UserError, match=r"list\.yaml lists 'a/1\.jpg'"):
        index.find("a/1.jpg", LIST)
    assert index.find("two/a/1.jpg", LIST) == tmp_path / "two/a/1.jpg"


def test_images_come_in_the_lists_order_with_the_lists_labels(tmp_path):
    names = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    (tmp_path / "x.zip").write_bytes(zip_of({f"pets/{name}": b"x" for name in names}))
    (tmp_path / "a.yaml").write_text("data: [data/dog/1.jpg, data/cat/2.jpg]\ntargets: [1, 0]\n")
    (tmp_path / "b.json").write_text('{"data": ["data/cat/1.jpg"], "labels": [0]}')
    form = ListedImages(
        kind="listed-images", archive="x.zip", train="a.yaml", test="b.json", paths_below="data/"
    )
    listing = read(form, tmp_path, tmp_path / "work")
    found = [Path(listing.train.images.name(row)).parts[-2:] for row in range(2)]
    assert found == [("dog", "1.jpg"), ("cat", "2.jpg")]
    assert listing.train.labels.tolist() == [1, 0]
    assert Path(listing.test.images.name(0)).parts[-2:] == ("cat", "1.jpg")
    assert listing.class_names == ("0", "1")


def test_a_leading_folder_of_the_list_is_taken_off_before_the_search(tmp_path):
    names = ("data/cat/1.jpg", "cat/1.jpg")
    (tmp_path / "x.zip").write_bytes(zip_of({name: name.encode() for name in names}))
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("data: [data/cat/1.jpg]\ntargets: [0]\n")
    for below, expected in (("data/", "cat/1.jpg"), ("", "data/cat/1.jpg")):
        form = ListedImages(
            kind="listed-images",
            archive="x.zip",
            train="a.yaml",
            test="b.yaml",
            paths_below=below,
        )
        (path,) = read(form, tmp_path, tmp_path / f"work{below[:4]}").train.images.take(0, 1)
        assert Path(path).read_text() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"data": ["a"], "targets": []}, "equal length"),
        ({"data": ["a"]}, "equal length"),
        ([["a", 0]], "equal length"),
        ({"data": [1], "targets": [0]}, "which is not a path"),
        ({"data": ["a"], "targets": [0.0]}, "not a whole number"),
        ({"data": ["a"], "targets": [-1]}, "range from -1"),
    ],
)
def test_a_list_of_another_form_is_refused(tmp_path, value, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=message):
        read_list(path)


@pytest.mark.parametrize("name", ["x.json", "x.yaml"])
def test_a_key_that_stands_twice_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"data": ["a"], "targets": [0], "data": ["b"]}')
    with pytest.raises(UserError, match=r"data.*twice"):
        load_table(path)


def test_json_holds_no_nan(tmp_path):
    (tmp_path / "x.json").write_text('{"data": NaN}')
    with pytest.raises(UserError, match="NaN is not a number"):
        load_table(tmp_path / "x.json")
