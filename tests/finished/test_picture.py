"""The picture of choices: its file's kind follows its ending, and it holds so many images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from starprompt.errors import UserError
from starprompt.finished.ask import Choice
from starprompt.finished.picture import MOST, draw_choices

CHOICES = [Choice("first stage", "cat", 0.9), Choice("layer 0", "dog", 2.0)]


def _draw(path: Path, images: int) -> None:
    pictures = [np.zeros((8, 8, 3), np.uint8)] * images
    best = pd.DataFrame({"class": ["cat"] * images, "score": [0.5] * images})
    draw_choices(path, pictures, best, [CHOICES] * images)


@pytest.mark.parametrize(("name", "start"), [("x.PNG", b"\x89PNG"), ("x.pdf", b"%PDF")])
def test_the_ending_says_what_is_written(name: str, start: bytes, tmp_path: Path) -> None:
    _draw(tmp_path / name, 1)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_each_image_has_a_row(tmp_path: Path) -> None:
    heights = []
    for images in (1, 3):
        _draw(tmp_path / "x.png", images)
        with Image.open(tmp_path / "x.png") as picture:
            heights.append(picture.height)
    assert heights[1] == pytest.approx(3 * heights[0], abs=3)


def test_text_of_a_picture_names_place_and_prompt(tmp_path: Path) -> None:
    _draw(tmp_path / "x.svg", 1)
    text = (tmp_path / "x.svg").read_text()
    for said in ("cat (0.50)", "first stage: cat", "layer 0: dog"):
        assert said in text


@pytest.mark.parametrize(
    ("name", "images", "said"),
    [("x.jpg", 1, "no known picture format"), ("x.png", MOST + 1, "21 images do not fit")],
)
def test_another_ending_and_too_many_images_are_refused(
    name: str, images: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        _draw(tmp_path / name, images)
    assert list(tmp_path.iterdir()) == []
