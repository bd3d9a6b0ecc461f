"""Small folders of random images, and their preparation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from starprompt.data.prepare import prepare
from starprompt.data.registry import DatasetSpec
from starprompt.data.store import open_prepared

SMALL = {"step": "resize", "size": [16, 16]}


def save_photo(place: Path, seed: int, form: str = "PNG", **saved: Any) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(place, form, **saved)
    return place


def class_folders(
    folder: Path, names: tuple[str, ...] = ("ant", "bee"), count: int = 4, seed: int = 0
):
    for label, name in enumerate(names):
        for i in range(count):
            save_photo(folder / name / f"{i}.png", 1000 * seed + 100 * label + i)
    return folder


def folder_spec(folder: Path, **form: Any) -> DatasetSpec:
    given = {"kind": "image-folder", "folder": str(folder), "test_share": 0.25} | form
    given = {key: value for key, value in given.items() if value is not None}
    value = {
        "name": "mine",
        "title": "Mine",
        "tasks": 1,
        "sources": [{"format": given}],
        "stored": {"train": [SMALL], "test": [SMALL]},
    }
    return DatasetSpec.model_validate_json(json.dumps(value))


def prepare_folder(folder: Path, root: Path, **form: Any):
    return open_prepared(prepare(folder_spec(folder, **form), root, workers=1))
