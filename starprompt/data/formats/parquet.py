"""Encoded images in parquet files, found by file name."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starprompt.data.download import find_files
from starprompt.data.formats import Listing, Raw, RawSplit, numbered_names
from starprompt.data.formats.listed import read_list
from starprompt.data.sources import ParquetImages, stays_below
from starprompt.errors import UserError, reason
from starprompt.files import (
    atomic_path,
    read_json,
    reading,
    sealed,
    sha256_file,
    unsealed,
    write_json,
)

ROWS_AT_A_TIME = 64


def read(form: ParquetImages, files: Path, work: Path) -> Listing:
    """Images of the listed file names, in the lists' order.

    Raises :class:`UserError` when an image is missing or a file is no such parquet.
    """
    blob = ParquetBlob.gather(files, form.files, form.image, form.name, work)
    splits = []
    for name in (form.train, form.test):
        paths, labels = read_list(stays_below(files, files / name))
        images = blob.select([Path(path).name for path in paths], files / name)
        splits.append(RawSplit(images, labels))
    train, test = splits
    return Listing(train, test, numbered_names(train.labels, test.labels))


@dataclass(frozen=True)
class ParquetBlob:
    """All encoded images of some parquet files, one after the other in one file.

    A list's order is not the parquet's, and a parquet file gives a whole row group for one image:
    so they are streamed out once, and read at their places afterwards.
    """

    path: Path
    places: dict[str, tuple[int, int]]

    @classmethod
    def gather(
        cls, files: Path, pattern: str, image: str, name: str | None, work: Path
    ) -> "ParquetBlob":
        """Stream the images out, or take up what an interrupted preparation left.

        What it left counts only as it was written: the index holds its own digest and that of the
        images.

        image, name  columns of bytes and file names; without ``name``, ``image`` is a struct of
                     both (``bytes``, ``path``), as the hub writes image data sets
        """
        path, index = work / "images.bin", work / "images.json"
        try:
            noted = unsealed(read_json(index))
            if noted["sha256"] == sha256_file(path):
                return cls(path, {key: (start, size) for key, (start, size) in noted["places"]})
        except (OSError, ValueError, KeyError):
            pass  # not there, changed, or an earlier version's
        places: dict[str, tuple[int, int]] = {}
        with atomic_path(path) as part, part.open("wb") as out:
            for file in find_files(files, pattern):
                for key, data in _rows(stays_below(files, file), image, name):
                    if key in places:
                        raise UserError(
                            f"{file} has the image {key[:200]!r} again; two images of one "
                            "name cannot be distinguished, download the files again."
                        )
                    places[key] = (out.tell(), len(data))
                    out.write(data)
        write_json(index, sealed({"places": [*places.items()], "sha256": sha256_file(path)}))
        return cls(path, places)

    def select(self, names: list[str], source: Path) -> "BlobImages":
        """The images of these file names; :class:`UserError` when one is missing."""
        missing = [name for name in names if name not in self.places]
        if missing:
            raise UserError(
                f"{source} lists {missing[0]!r} and {len(missing) - 1} more images that the "
                "parquet files do not hold; download them again."
            )
        return BlobImages(self.path, tuple(names), tuple(self.places[name] for name in names))


def _rows(file: Path, image: str, name: str | None) -> Iterator[tuple[str, bytes]]:
    import pyarrow.parquet as pq

    columns = [image] if name is None else [name, image]
    try:
        with reading(file), pq.ParquetFile(file) as table:
            for batch in table.iter_batches(ROWS_AT_A_TIME, columns=columns):
                for row in batch.to_pylist():
                    key = row[image]["path"] if name is None else row[name]
                    data = row[image]["bytes"] if name is None else row[image]
                    if not isinstance(key, str) or not isinstance(data, bytes):
                        raise TypeError("a row has no file name or no bytes")
                    yield key.rpartition("/")[2], data
    except UserError:
        raise
    except Exception as error:  # a damaged file can end in any exception
        what = reason(error)
        raise UserError(
            f"{file} is not a Parquet file with the columns {', '.join(columns)} ({what}); "
            "remove it and download it again."
        ) from error


@dataclass(frozen=True)
class BlobImages:
    """Encoded images at known places of one file."""

    path: Path
    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, start: int, stop: int) -> Sequence[Raw]:
        """Encoded bytes of rows start..stop-1, read from their places in the file."""
        with reading(self.path), self.path.open("rb") as file:
            return [_at(file.fileno(), *self.places[row]) for row in range(start, stop)]

    def name(self, row: int) -> str:
        """The image's name in the file, for messages."""
        return self.names[row]


def _at(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) != length:
        raise UserError(
            "The images unpacked from a Parquet file are incomplete; prepare the data set again."
        )
    return data
