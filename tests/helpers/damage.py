"""Damage to files that a test does."""

import os
from pathlib import Path


def zero_a_tenth(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size // 10))


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def add(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
