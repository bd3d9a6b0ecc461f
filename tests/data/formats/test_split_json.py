"""One JSON of [path, label, name] splits an archive's images; its names are the classes' names."""

import json
from pathlib import Path

import pytest

from starprompt.data.formats.split_json import read
from starprompt.data.sources import SplitJson
from starprompt.errors import UserError
from tests.helpers.source_makers import zip_of

FORM = SplitJson(kind="split-json", split="s.json", images="x.zip")
TABLE = {
    "train": [["Sea/2.jpg", 1, "Sea or lake"], ["Crop/1.jpg", 0, "Crop"]],
    "val": [["Crop/3.jpg", 0, "Crop"]],
    "test": [["Sea/4.jpg", 1, "Sea or lake"]],
}


def _read(folder: Path, table: object):
    names = ("Crop/1.jpg", "Sea/2.jpg", "Crop/3.jpg", "Sea/4.jpg")
    (folder / "x.zip").write_bytes(zip_of({f"all/{name}": b"x" for name in names}))
    (folder / "s.json").write_text(json.dumps(table))
    return read(FORM, folder, folder / "work")


def test_train_and_test_parts_keep_the_jsons_order_and_validation_is_only_counted(tmp_path):
    listing = _read(tmp_path, TABLE)
    assert [Path(listing.train.images.name(row)).name for row in range(2)] == ["2.jpg", "1.jpg"]
    assert listing.train.labels.tolist() == [1, 0]
    assert [Path(path).name for path in listing.test.images.take(0, 1)] == ["4.jpg"]
    assert listing.class_names == ("Crop", "Sea or lake")
    assert listing.provenance == {"listed": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": [["Sea/4.jpg", 0, "Sea or lake"]]}, "names label 0 both 'Crop' and"),
        ({"test": [["Sea/4.jpg", "1", "Sea"]]}, "which is not a whole number"),
        ({"test": [["Sea/4.jpg", 1]]}, "has no part 'test'"),
        ({"train": {}}, "has no part 'train'"),
        ({"test": [["Sea/5.jpg", 1, "Sea or lake"]]}, "does not hold"),
    ],
)
def test_a_json_of_another_form_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        _read(tmp_path, TABLE | changes)


def test_a_json_that_is_no_table_of_parts_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no part 'train'"):
        _read(tmp_path, [TABLE])
