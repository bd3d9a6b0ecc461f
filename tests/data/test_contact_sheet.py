"""The contact sheet: a cell for each class, in source order, down the columns."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from starprompt.data.contact_sheet import CELL, COLUMN_GAP, TEXT_HEIGHT, contact_sheet, strip
from starprompt.data.store import PreparedDataset, Split


def _prepared(labels: list[int], classes: int) -> PreparedDataset:
    """Image ``i`` has the red ``i`` throughout, the green of its class and no blue."""
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    images[:, 0] = np.arange(len(labels))[:, None, None]
    images[:, 1] = np.array(labels)[:, None, None] + 100
    split = Split(images, np.array(labels), np.full((len(labels), 2), 8, np.int32))
    names = tuple(f"name {label}" for label in range(classes))
    return PreparedDataset("x", Path("x"), names, {"digest": "0"}, split, split)


def _cell(sheet: np.ndarray, place: tuple[int, int], number: int, per_class: int) -> list[int]:
    """The pixel in the middle of one picture of the class at that column and row."""
    column, row = place
    left = column * (per_class * CELL + COLUMN_GAP) + number * CELL
    top = row * (CELL + TEXT_HEIGHT) + TEXT_HEIGHT
    return sheet[top + CELL // 2, left + CELL // 2].tolist()


def _sheet(prepared: PreparedDataset, path: Path, per_class: int) -> np.ndarray:
    assert contact_sheet(prepared, path, per_class=per_class) == path
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_first_last_and_middle_images_of_every_class(tmp_path):
    labels = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]  # of class 0: 0, 2, 4, 6, 8
    sheet = _sheet(_prepared(labels, 2), tmp_path / "x.png", 3)
    assert sheet.shape == (2 * (CELL + TEXT_HEIGHT), 3 * CELL + COLUMN_GAP, 3)
    assert [_cell(sheet, (0, 0), i, 3) for i in range(3)] == [[r, 100, 0] for r in (0, 4, 8)]
    assert [_cell(sheet, (0, 1), i, 3) for i in range(3)] == [[r, 101, 0] for r in (1, 5, 9)]


def test_classes_run_down_columns_of_25(tmp_path):
    sheet = _sheet(_prepared(list(range(27)), 27), tmp_path / "x.png", 1)
    assert sheet.shape[:2] == (25 * (CELL + TEXT_HEIGHT), 2 * (CELL + COLUMN_GAP))
    assert _cell(sheet, (0, 24), 0, 1) == [24, 124, 0]
    assert _cell(sheet, (1, 0), 0, 1) == [25, 125, 0]
    assert _cell(sheet, (1, 2), 0, 1) == [255, 255, 255]


@pytest.mark.parametrize("labels", [[0], [0, 0]])
def test_a_class_with_few_images_or_none_leaves_white(tmp_path, labels):
    sheet = _sheet(_prepared(labels, 2), tmp_path / "x.png", 4)
    shown = [_cell(sheet, (0, 0), i, 4) != [255, 255, 255] for i in range(4)]
    assert sum(shown) == len(labels)
    assert _cell(sheet, (0, 1), 0, 4) == [255, 255, 255]


def test_a_strip_is_of_the_part_that_holds_most_of_its_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("starprompt.data.contact_sheet.CHUNK_ROWS", 3)
    prepared = _prepared([0, 1, 1, 0, 0, 1, 0], classes=2)
    with Image.open(BytesIO(strip(prepared, 0, count=4, side=16))) as image:
        assert image.size == (32, 16)
        assert np.allclose(np.asarray(image)[8, 8::16, 0], [3, 4], atol=3)


def test_a_strip_holds_a_classes_images_side_by_side() -> None:
    prepared = _prepared([0, 1, 0, 0, 1], classes=2)
    with Image.open(BytesIO(strip(prepared, 0, count=4, side=16))) as image:
        assert image.format == "JPEG" and image.size == (48, 16)
        pixels = np.asarray(image)[8, 8::16]
    assert np.allclose(pixels[:, 0], [0, 2, 3], atol=3)
    assert np.allclose(pixels[:, 1], 100, atol=3)
