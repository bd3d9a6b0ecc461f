"""Preparation's speed as a share of what PIL's decoding alone reaches on the same cores.

A folder of JPEGs of 500x375 pixels (pieces of real photographs) is decoded image by image with as
many threads as there are cores, and prepared: listed, decoded, resized to 256x256, written into the
memory map and digested. The last line is JSON; its ratio is decoding's time over preparation's.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from starprompt.data.prepare import available_cores, prepare
from starprompt.data.registry import DatasetSpec

IMAGES, HEIGHT, WIDTH, REPEATS = 800, 375, 500, 3


def write_images(folder: Path) -> list[Path]:
    """JPEGs cut from two photographs at differing places and scales, in two classes."""
    photos = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    random, paths = np.random.default_rng(0), []
    for i in range(IMAGES):
        photo = photos[i % 2]
        share = random.uniform(0.8, 1.0)
        width, height = int(photo.width * share), int(photo.height * share)
        left = int(random.integers(0, photo.width - width + 1))
        top = int(random.integers(0, photo.height - height + 1))
        piece = photo.resize((WIDTH, HEIGHT), box=(left, top, left + width, top + height))
        path = folder / f"class{i % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        piece.save(path, quality=90)
        paths.append(path)
    return paths


def decode(path: Path) -> Image.Image:
    """What every image folder's loader does."""
    with Image.open(path) as image:
        return image.convert("RGB")


def decode_and_resize(path: Path) -> Image.Image:
    """What a loader with PIL transforms does, as little as gives an image of one size."""
    return decode(path).resize((256, 256), Image.Resampling.BICUBIC)


def seconds_of(load: Callable[[Path], Image.Image], paths: list[Path]) -> float:
    """Seconds to load all images on all cores and keep nothing."""
    start = time.perf_counter()
    with ThreadPoolExecutor(available_cores()) as pool:
        for image in pool.map(load, paths):
            assert image.mode == "RGB"
    return time.perf_counter() - start


def prepare_all(images: Path, root: Path) -> float:
    """Seconds of a whole preparation."""
    square = [{"step": "resize", "size": [256, 256]}]
    source = {"format": {"kind": "image-folder", "folder": str(images), "test_share": 0.2}}
    described = {"name": "photos", "title": "Photographs", "tasks": 1, "sources": [source]}
    spec = DatasetSpec.model_validate_json(
        json.dumps(described | {"stored": {"train": square, "test": square}})
    )
    start = time.perf_counter()
    prepare(spec, root)
    seconds = time.perf_counter() - start
    shutil.rmtree(root)
    return seconds


def main() -> None:
    """Print the speeds and the shares as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_images(folder / "images")
        alone, resized, whole = [], [], []
        for _ in range(REPEATS):
            alone.append(seconds_of(decode, paths))
            resized.append(seconds_of(decode_and_resize, paths))
            whole.append(prepare_all(folder / "images", folder / "data"))
    result = {
        "name": "prepare",
        "ratio": round(min(alone) / min(whole), 3),
        "ratio_to_decode_and_resize": round(min(resized) / min(whole), 3),
        "images_per_second": round(IMAGES / min(whole)),
    }
    print(
        f"PIL decodes {IMAGES / min(alone):.0f} images/s, with a resize {IMAGES / min(resized):.0f}"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
