"""Equal images are counted across splits and classes, and named."""

import shutil
from pathlib import Path

from starprompt.data.equal_images import Image, equal_images
from starprompt.data.store import SPLITS
from tests.helpers.image_folders import class_folders, prepare_folder


def test_equal_images_are_counted_and_named(tmp_path):
    folder = tmp_path / "mine"
    class_folders(folder / "train")
    class_folders(folder / "test", count=2, seed=1)
    shutil.copy(folder / "train" / "ant" / "0.png", folder / "test" / "ant" / "copy.png")
    shutil.copy(folder / "train" / "bee" / "1.png", folder / "train" / "ant" / "bee.png")
    equal = prepare_folder(folder, tmp_path, test_share=None).manifest["equal_images"]
    assert equal["train_and_test"]["count"] == 1
    (group,) = equal["train_and_test"]["names"]
    assert [Path(name).name for name in group] == ["0.png", "copy.png"]
    assert equal["across_classes"]["count"] == 2
    (group,) = equal["across_classes"]["names"]
    assert {Path(name).name for name in group} == {"bee.png", "1.png"}


def test_counts_are_of_test_images_in_both_splits_and_of_all_images_in_two_classes():
    images = [
        Image("train", 0, "a", b"x"),
        Image("test", 0, "b", b"x"),
        Image("test", 0, "c", b"x"),
        Image("train", 1, "d", b"y"),
        Image("train", 2, "e", b"y"),
        Image("train", 3, "f", b"z"),
        Image("train", 3, "g", b"z"),
        Image("test", 3, "h", b"w"),
    ]
    assert equal_images(images) == {
        "train_and_test": {"count": 2, "names": [["a", "b", "c"]]},
        "across_classes": {"count": 2, "names": [["d", "e"]]},
    }


def test_at_most_fifty_groups_are_named_and_all_are_counted():
    images = [Image(split, 0, f"{split} {i}", bytes([i])) for i in range(60) for split in SPLITS]
    found = equal_images(images)["train_and_test"]
    assert found["count"] == 60
    assert found["names"] == [[f"train {i}", f"test {i}"] for i in range(50)]
