"""Folders of images with a description, as a user has them."""

import subprocess
import sys
from pathlib import Path

import yaml

from starprompt.data.registry import load_dataset_spec
from tests.helpers.source_makers import encoded, picture

MINE = """
name: mine
title: My images
tasks: 2
image_size: 24
sources:
  - format: {kind: image-folder, folder: FOLDER, test_share: 0.25}
stored:
  train: [{step: resize, size: [32, 32]}]
  test: [{step: resize, size: [32, 32]}]
train_transform:
  - {step: random_resized_crop, size: 24}
test_transform:
  - {step: resize, size: 24}
"""


def own_spec(tmp_path: Path, folder: Path, **changes):
    value = yaml.safe_load(MINE.replace("FOLDER", str(folder)))
    value["sources"][0]["format"] |= changes
    value["sources"][0]["format"] = {
        k: v for k, v in value["sources"][0]["format"].items() if v is not None
    }
    described = tmp_path / "datasets"
    described.mkdir(exist_ok=True)
    (described / "mine.yaml").write_text(yaml.safe_dump(value))
    return load_dataset_spec("mine", described)


def own_images(
    folder: Path,
    per_class: int = 4,
    classes: int = 4,
    split: str = "train",
    sides: tuple[int, int] | None = None,
) -> Path:
    """One folder per class; images of growing heights, or all of ``sides``."""
    for label in range(classes):
        place = folder / f"class_{label}"
        place.mkdir(parents=True)
        for i in range(per_class):
            pixels = picture(split, label, *(sides or (40 + i, 50)))
            (place / f"{i:04}.jpg").write_bytes(encoded(pixels))
    return folder


SCRIPT = """
import sys
from pathlib import Path
from starprompt.data.prepare import prepare
from starprompt.data.registry import load_dataset_spec
prepare(load_dataset_spec("mine", Path(sys.argv[1])), Path(sys.argv[2]), workers=1)
"""


def start_preparing(described: Path, root: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(described), str(root)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
