"""A folder of photographs, untidy as folders are, on its way into a table.

    python examples/own_photographs.py [--folder photos]

Run it in an empty folder. It writes photographs (crops of two that come with scikit-learn), leaves
among them what one finds in real folders, and then calls ``starprompt`` as you would: it shows each
call, what it answers, and how each mistake is mended. It needs no download and takes a few minutes
on a CPU.
"""

import argparse
import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

EXPERIMENT = """\
name: photos
title: My photographs
datasets: [photos]
methods: [ncm, linear-probe]
seeds: [1993]
device: cpu
"""
#: each class's photograph, and where its crops are taken from: left, top, right, bottom
CLASSES = {
    "temple roof": ("china", (0, 0, 320, 220)),
    "palace wall": ("china", (320, 200, 640, 427)),
    "petals": ("flower", (160, 60, 480, 380)),
    "leaves": ("flower", (0, 0, 220, 427)),
}


def crops(photo: str, box: tuple[int, int, int, int], count: int) -> list[Image.Image]:
    """Random crops of 96 to 140 pixels, each a photograph of its own."""
    whole = Image.fromarray(load_sample_image(f"{photo}.jpg")).crop(box)
    draw = np.random.default_rng(sum(box))
    found = []
    for _ in range(count):
        side = int(draw.integers(96, 141))
        left, top = (int(draw.integers(0, length - side)) for length in whole.size)
        found.append(whole.crop((left, top, left + side, top + side)))
    return found


def write_photographs(folder: Path) -> None:
    """Training and validation folders below one more folder, as exports have them."""
    for name, (photo, box) in CLASSES.items():
        for number, image in enumerate(crops(photo, box, 15)):
            split = "Train" if number < 10 else "val"
            place = folder / "export" / split / name
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"IMG_{number:04}.jpg", quality=95)


def write_dirt(folder: Path) -> None:
    """What programs, cameras and people leave in such folders."""
    train, val = folder / "export/Train", folder / "export/val"
    first = (train / "petals/IMG_0000.jpg").read_bytes()
    for hidden in (".DS_Store", "Thumbs.db", "._IMG_0000.jpg"):
        (train / "petals" / hidden).write_bytes(b"left by a program")
    for tool in (".ipynb_checkpoints", "__MACOSX"):
        (train / tool).mkdir()
        (train / tool / "IMG_0000.jpg").write_bytes(first)
    for ending in ("jfif", "heic", "avif"):
        (train / f"leaves/from-phone.{ending}").write_bytes(first)
    (train / "notes.txt").write_text("bought in spring\n", encoding="utf-8")
    (train / "unsorted.jpg").write_bytes(first)
    # cannot be decoded: cut short, no image at all, floating-point numbers
    (train / "leaves/IMG_0900.jpg").write_bytes(first[: len(first) // 3])
    (train / "leaves/IMG_0901.png").write_text("404 not found", encoding="utf-8")
    floats = Image.fromarray(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    floats.save(train / "palace wall/scan.tiff")
    # the camera was held upright
    turned, exif = Image.open(io.BytesIO(first)).rotate(90), Image.Exif()
    exif[0x0112] = 6
    turned.save(train / "petals/IMG_0500.jpg", exif=exif)
    # the same photograph in both splits, and in two classes
    shutil.copy(train / "petals/IMG_0001.jpg", val / "petals/again.jpg")
    shutil.copy(train / "leaves/IMG_0002.jpg", train / "petals/copy of IMG_0002.jpg")
    # two folders of one name, and a class that nobody can test
    (train / "temple_roof").mkdir()
    shutil.copy(train / "temple roof/IMG_0003.jpg", train / "temple_roof/IMG_0003 (1).jpg")
    (train / "lanterns").mkdir()
    (train / "lanterns/IMG_0001.jpg").write_bytes(first)


def call(*words: str, status: int = 0) -> None:
    """Show a call and what it prints; it must end with ``status``."""
    print(f"$ {' '.join(words)}", flush=True)
    module = "starprompt.grid.snakemake" if words[0] == "snakemake" else "starprompt.cli"
    done = subprocess.run(
        [sys.executable, "-m", module, *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    if done.returncode != status:
        sys.exit(f"{words} ended with {done.returncode}, not {status}")


def say(text: str) -> None:
    """A comment in the transcript."""
    print(f"# {text}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--folder", type=Path, default=Path("photos"))
    folder: Path = arguments.parse_args().folder
    begun = time.perf_counter()
    write_photographs(folder)
    write_dirt(folder)
    add = ("starprompt", "data", "add", str(folder), "--name", "photos", "--size", "64")

    call(*add, status=2)
    say("Two folders are one class: put their images together.")
    for path in (folder / "export/Train/temple_roof").iterdir():
        path.rename(folder / "export/Train/temple roof" / path.name)
    (folder / "export/Train/temple_roof").rmdir()

    call(*add, status=2)
    say("One class has no image to test on: leave it out.")
    shutil.rmtree(folder / "export/Train/lanterns")

    call(*add, status=2)
    say("Some images cannot be decoded: leave them out.")
    call(*add, "--skip-corrupt", "--tasks", "2")
    call("starprompt", "data", "show", "photos", "--output", "photos.png")

    say("An experiment: config/photos.yaml")
    Path("config").mkdir(exist_ok=True)
    Path("config/photos.yaml").write_text(EXPERIMENT, encoding="utf-8")
    print(EXPERIMENT)
    call("starprompt", "check", "--config", "config/photos.yaml")
    call("starprompt", "embed", "--config", "config/photos.yaml", "--dataset", "photos")
    for method in ("ncm", "linear-probe"):
        chosen = ("--dataset", "photos", "--method", method, "--seed", "1993")
        call("starprompt", "run", "--config", "config/photos.yaml", *chosen)
    call("starprompt", "tables", "--config", "config/photos.yaml")
    print(Path("results/photos/tables/accuracy.md").read_text(encoding="utf-8"))
    say(f"From the photographs to the table: {(time.perf_counter() - begun) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
