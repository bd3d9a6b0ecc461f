"""Speed of preparation as a share of the speed of PIL's decoding alone on the same cores.

A folder of JPEGs of 500x375 pixels (pieces of real photographs) is decoded image by image with as
many threads as there are cores, and prepared: listed, decoded, resized to 256x256, written into the
memory map and digested. The last line is JSON; its ratio is decoding's time over preparation's.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from _timing import report
from PIL import Image
from sklearn.datasets import load_sample_image

from starprompt.data.prepare import available_cores, prepare
from starprompt.data.registry import DatasetSpec

IMAGES, COPIES, HEIGHT, WIDTH, REPEATS = 800, 3, 375, 500, 3


def write_images(folder: Path) -> list[Path]:
    """JPEGs cut from two photographs at differing places and scales, in two classes, and copies."""
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
        for copy in range(1, COPIES):
            paths.append(path.with_stem(f"{i}-{copy}"))
            shutil.copy(path, paths[-1])
    return paths


def decode(path: Path) -> Image.Image:
    """What every image folder's loader does."""
    with Image.open(path) as image:
        return image.convert("RGB")


def decode_and_resize(path: Path) -> Image.Image:
    """What a loader with PIL transforms does, as little as gives an image of one size."""
    return decode(path).resize((256, 256), Image.Resampling.BICUBIC)


@dataclass
class Took:
    """What something took: seconds on the clock, and of all processors together."""

    wall: float
    processors: float


@contextmanager
def clock() -> Iterator[Took]:
    """Measure the block."""
    took = Took(-time.perf_counter(), -time.process_time())
    yield took
    took.wall += time.perf_counter()
    took.processors += time.process_time()


def load_all(load: Callable[[Path], Image.Image], paths: list[Path]) -> Took:
    """Load all images on all cores and keep nothing."""
    with clock() as took, ThreadPoolExecutor(available_cores()) as pool:
        for image in pool.map(load, paths):
            assert image.mode == "RGB"
    return took


def prepare_all(images: Path, root: Path) -> Took:
    """A whole preparation."""
    square = [{"step": "resize", "size": [256, 256]}]
    source = {"format": {"kind": "image-folder", "folder": str(images), "test_share": 0.2}}
    described = {"name": "photos", "title": "Photographs", "tasks": 1, "sources": [source]}
    spec = DatasetSpec.model_validate_json(
        json.dumps(described | {"stored": {"train": square, "test": square}})
    )
    with clock() as took:
        prepare(spec, root)
    shutil.rmtree(root)
    return took


def main() -> None:
    """Print the speeds and the shares, medians over pairs taken one after the other, as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_images(folder / "images")
        trials = [
            (
                load_all(decode, paths),
                load_all(decode_and_resize, paths),
                prepare_all(folder / "images", folder / "data"),
            )
            for _ in range(REPEATS)
        ]
    print("images/s     PIL decodes  and resizes  prepared")
    for trial in trials:
        print(" " * 10, *(f"{len(paths) / took.wall:12.0f}" for took in trial))
    report(
        "prepare",
        round(median(a.wall / whole.wall for a, _, whole in trials), 3),
        ratio_to_decode_and_resize=round(median(b.wall / w.wall for _, b, w in trials), 3),
        ratio_of_processor_time=round(median(a.processors / w.processors for a, _, w in trials), 3),
        images_per_second=round(len(paths) / median(whole.wall for *_, whole in trials)),
    )


if __name__ == "__main__":
    main()
