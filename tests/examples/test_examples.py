"""The examples run in an empty folder, and leave what they say."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.helpers.paths import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


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
