"""A contact sheet: some images of each class with the class's name, as one picture."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from starprompt.data.store import PreparedDataset
from starprompt.data.stored_images import CHUNK_ROWS
from starprompt.files import atomic_path

CELL, TEXT_HEIGHT, COLUMN_GAP = 64, 16, 12
MOST_ROWS = 25


def contact_sheet(prepared: PreparedDataset, out: Path, *, per_class: int = 6) -> Path:
    """Write ``per_class`` training images of every class, evenly spread over its rows, as a PNG.

    Classes run down the columns in source order.
    """
    count = prepared.n_classes
    rows = min(count, MOST_ROWS)
    columns = -(-count // rows)
    width, height = per_class * CELL + COLUMN_GAP, CELL + TEXT_HEIGHT
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for label, name in enumerate(prepared.class_names):
        left, top = label // rows * width, label % rows * height
        title = f"{label} {name}".encode("ascii", "replace").decode()
        draw.text((left + 2, top + 2), title[: per_class * CELL // 6], fill="black", font=font)
        for i, picture in enumerate(_pictures(prepared, _rows(prepared, label), per_class, CELL)):
            sheet.paste(picture, (left + i * CELL, top + TEXT_HEIGHT))
    with atomic_path(out) as part:
        sheet.save(part, format="PNG")
    return out


def strip(prepared: PreparedDataset, label: int, *, count: int, side: int) -> bytes:
    """Up to ``count`` training images of one class side by side, ``side`` pixels each, as a JPEG.

    label  in source order

    They are of one part of the stored images, so that few of large files are read and checked.
    Raises :class:`UserError` for stored images that are not those of the manifest.
    """
    rows = _rows(prepared, label)
    parts = rows // CHUNK_ROWS
    pictures = _pictures(prepared, rows[parts == np.bincount(parts).argmax()], count, side)
    row = Image.new("RGB", (max(1, len(pictures)) * side, side), "white")
    for at, picture in enumerate(pictures):
        row.paste(picture, (at * side, 0))
    out = BytesIO()
    row.save(out, format="JPEG", quality=85)
    return out.getvalue()


def _rows(prepared: PreparedDataset, label: int) -> NDArray[np.int64]:
    return np.flatnonzero(prepared.train.labels == label)


def _pictures(
    prepared: PreparedDataset, rows: NDArray[np.int64], count: int, side: int
) -> list[Image.Image]:
    """Up to ``count`` of these training images, evenly spread."""
    picks = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    found = []
    for row in picks:
        pixels = np.ascontiguousarray(prepared.train.images[row].transpose(1, 2, 0))
        found.append(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
    return found
