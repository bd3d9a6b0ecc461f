"""The examples run in an empty folder, and leave what they say."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.helpers.paths import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def test_untidy_photographs_come_into_a_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_photographs.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "'temple roof' and 'temple_roof' are equal but for case, spacing or Unicode form",
        "'lanterns' has no test image",
        "3 of its images cannot be decoded",
        "left out, cannot be decoded: 3",
        "ignored, hidden or left by a program: 5",
        "ignored, images in formats that are not read: 3",
        "ignored, images outside of the classes' folders: 1 (unsorted.jpg)",
        "images equal to images of another class: 2",
        "test images equal to training images: 1",
        "taken: 43 training and 21 test images of 4 classes",
    ):
        assert said in done.stdout
    accuracy = (tmp_path / "results/photos/tables/accuracy.md").read_text(encoding="utf-8")
    assert "| NCM" in accuracy and "Linear probe" in accuracy


def test_the_selection_matrix_is_drawn(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "selection_matrix.py"), "--epochs", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of choices are the true class's" in done.stdout
    share = float(done.stdout.split("% of choices are")[0].split()[-1])
    assert share > 50
    with Image.open(tmp_path / "selection.png") as picture:
        assert picture.width == 825
