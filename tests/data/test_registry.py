"""Descriptions of data sets: what is accepted, and what a mistake in one says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from starprompt.data.registry import DatasetSpec, data_root, list_datasets, load_dataset_spec
from starprompt.errors import UserError
from tests.helpers.paths import DATASETS

FOLDER = DATASETS


def _written(tmp_path: Path, **changes) -> Path:
    value = yaml.safe_load((FOLDER / "digits.yaml").read_text())
    value |= changes
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(value))
    return tmp_path


def test_every_description_in_the_repository_is_valid():
    names = list_datasets(FOLDER)
    assert "digits" in names
    for name in names:
        spec = load_dataset_spec(name, FOLDER)
        assert spec.name == name
        assert "@" in spec.citation


def test_digits_are_five_tasks_of_two():
    assert load_dataset_spec("digits", FOLDER).task_ends(10) == (2, 4, 6, 8, 10)


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(UserError, match=r"no data set named 'digit'.*'digits'"):
        load_dataset_spec("digit", FOLDER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": "five"}, r"digits\.yaml: tasks.*valid integer.*'five'"),
        ({"tasks": 0}, "tasks must be a positive number"),
        ({"tasks": [2, 0, 8]}, "positive numbers"),
        ({"tasks": 11}, "11 tasks are more than the 10 classes"),
        ({"tasks": 4}, r"for instance \[3, 3, 2, 2\]"),
        ({"tasks": [4, 4]}, "adds up to 8 classes but there are 10"),
        ({"taks": 5}, r"digits\.yaml: taks: this key is not known"),
        ({"image_size": "64"}, r"image_size.*valid integer"),
        ({"normalisation": {"mean": [0, 0], "std": [1, 1, 1]}}, r"normalisation\.mean"),
        ({"train_transform": [{"step": "rotate"}]}, r"train_transform\.0.*random_resized_crop"),
        ({"templates": ["a photo"]}, "no {} for the class name"),
        ({"name": "numbers"}, "expected 'digits'"),
        ({"normalisation": {"std": [1.0, 0.0, 1.0]}}, r"normalisation\.std\.1: .*greater than 0"),
        ({"normalisation": {"std": [1.0, -1.0, 1.0]}}, r"normalisation\.std\.1"),
        ({"normalisation": {"std": [1.0, float("nan"), 1.0]}}, r"line \d+: '\.nan' would be read"),
        ({"normalisation": {"mean": [1.0, float("inf"), 1.0]}}, r"line \d+: '\.inf' would be read"),
        ({"normalisation": {"std": [True, 1.0, 1.0]}}, r"normalisation\.std\.0"),
        ({"templates": ["{} of {}"]}, "other braces than one"),
        ({"templates": ["{} of {0.__class__}"]}, "other braces than one"),
        ({"templates": []}, "templates"),
        ({"class_names": ["a", "b"]}, "class_names has 2 names for 10 classes"),
        ({"class_names": [*"abcdefghi", "A"]}, "'a' and 'A' are equal but for"),
        ({"class_names": [*"abcdefghi", "a\nb"]}, "class_names.9: .*which a table cannot show"),
        ({"class_names": [*"abcdefghi", ""]}, "class_names.9: it is empty"),
        ({"class_names": [*"abcdefghi", 7]}, "class_names.9: .*valid string, got 7"),
        ({"title": "a\x1b[31m"}, "title: it contains the character"),
        ({"image_size": 10**9}, "image_size"),
        ({"tasks": True}, "tasks"),
        ({"tasks": [True, 9]}, "tasks"),
        ({"classes": 10**12}, "classes"),
        (
            {"train_transform": [{"step": "random_resized_crop", "size": 64, "scale": [1.0, 0.1]}]},
            "lower end",
        ),
        (
            {"train_transform": [{"step": "random_resized_crop", "size": 64, "ratio": [0.0, 1.0]}]},
            "ratio",
        ),
        ({"train_transform": [{"step": "resize", "size": 10**8}]}, "size"),
        ({"expected": {"train": -1}}, r"expected\.train"),
        ({"tasks": {"first": 2, "increment": 0}}, "increment: input should be greater than 0"),
        (
            {"test_transform": [{"step": "resize", "size": [4681, 32]}]},
            "size.*less than or equal to 4096, got 4681",
        ),
        ({"sources": []}, "sources"),
    ],
)
def test_a_mistake_is_named_by_file_key_and_what_was_expected(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        load_dataset_spec("digits", _written(tmp_path, **change))


def test_a_missing_key_is_named(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\ntitle: X\n")
    with pytest.raises(UserError, match="tasks: this key is missing"):
        load_dataset_spec("x", tmp_path)


@pytest.mark.parametrize("name", ["a;touch x", "Digits", "my data", "a_b", "$(ls)"])
def test_a_file_whose_name_a_shell_could_misread_is_refused_with_its_name(tmp_path, name):
    _written(tmp_path)
    (tmp_path / f"{name}.yaml").write_text((tmp_path / "digits.yaml").read_text())
    with pytest.raises(UserError, match="is no name for a data set"):
        load_dataset_spec(name, tmp_path)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path):
    text = (FOLDER / "digits.yaml").read_text()
    (tmp_path / "digits.yaml").write_text(text + "tasks: 2\n")
    with pytest.raises(
        UserError, match=r"digits\.yaml, line \d+: the key 'tasks' stands there twice"
    ):
        load_dataset_spec("digits", tmp_path)


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list\n", "\x00"])
def test_what_is_no_description_is_refused(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=r"x\.yaml"):
        load_dataset_spec("x", tmp_path)


def test_a_folder_without_descriptions_is_named(tmp_path):
    with pytest.raises(UserError, match="no data set description in"):
        load_dataset_spec("digits", tmp_path)


def test_the_root_is_set_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("STARPROMPT_DATA")
    assert data_root() == Path("data")


def test_descriptions_are_read_without_heavy_libraries():
    code = (
        "import sys; import starprompt.data.registry; "
        "print([m for m in ('torch', 'torchvision', 'pandas', 'sklearn', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _source(**changes) -> dict:
    value = yaml.safe_load((FOLDER / "digits.yaml").read_text(encoding="utf-8"))
    return value | {"name": "x", "sources": [changes]}


OUTSIDE = (
    "../../x",
    "/etc/passwd",
    "a/../../x",
    "~/../x/..",
    "a\\b",
    "C:/x",
    "a\0b",
    ".x",
    "a//b",
    "",
)


@pytest.mark.parametrize("name", [*OUTSIDE, "x" * 300, "a/.fetched.json", "a\nb"])
@pytest.mark.parametrize(
    "place",
    ["file", "files", "archive", "train", "split", "images", "pattern", "names", "revision"],
)
def test_no_name_in_a_description_leaves_its_root(tmp_path, name, place):
    url = {"kind": "url", "url": "http://127.0.0.1/x", "file": "x.zip"}
    hub = {"kind": "hub", "repository": "a/b", "files": ["x.zip"]}
    listed = {"kind": "listed-images", "archive": "x.zip", "train": "a.yaml", "test": "b.yaml"}
    split = {"kind": "split-json", "split": "s.json", "images": "x.zip"}
    parquet = {"kind": "parquet-images", "files": "*.parquet", "train": "a", "test": "b"}
    folder = {"kind": "image-folder", "folder": "mine", "test_share": 0.5}
    source = {
        "file": {"fetch": [url | {"file": name}], "format": listed},
        "files": {"fetch": [hub | {"files": [name]}], "format": listed},
        "revision": {"fetch": [hub | {"revision": name}], "format": listed},
        "archive": {"fetch": [url], "format": listed | {"archive": name}},
        "train": {"fetch": [url], "format": listed | {"train": name}},
        "split": {"fetch": [url], "format": split | {"split": name}},
        "images": {"fetch": [url], "format": split | {"images": name}},
        "pattern": {"fetch": [url], "format": parquet | {"files": name}},
        "names": {"format": folder | {"class_names": name}},
    }[place]
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(_source(**source)))
    with pytest.raises(UserError, match=r"x\.yaml: sources\.0\."):
        load_dataset_spec("x", tmp_path)


@pytest.mark.parametrize("folder", ["../x", "a/../../x", "a\0b", ""])
def test_a_relative_folder_of_images_stays_below_the_data_root(tmp_path, folder):
    value = _source(format={"kind": "image-folder", "folder": folder, "test_share": 0.5})
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(UserError, match=r"x\.yaml: sources\.0\.format\.image-folder\.folder"):
        load_dataset_spec("x", tmp_path)


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
