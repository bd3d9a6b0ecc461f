"""A run's folder names the run."""

from pathlib import Path

import pytest

from starprompt.record.run_files import named_run


@pytest.mark.parametrize(
    ("folder", "run"),
    [
        ("results/runs/demo/digits/joint/seed7", ("digits", "joint", 7)),
        ("results/runs/demo/digits/joint/seed", None),
        ("results/search/digits/joint/3-own", None),
    ],
)
def test_the_folder_names_the_run(tmp_path: Path, folder: str, run: object) -> None:
    assert named_run(tmp_path / folder) == run
