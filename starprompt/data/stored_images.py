"""The images of one prepared split on disk: read by rows, and checked before their first use.

Rows are read into memory, not mapped: a map of a file that somebody cuts short ends the process
(SIGBUS), where a short read is an error like any other.
"""

import hashlib
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from starprompt.errors import UserError

#: Rows that one digest covers: some tens of megabytes, read and checked in a tenth of a second.
CHUNK_ROWS = 256


@dataclass(frozen=True)
class Digests:
    """What the manifest says of a split's images.

    whole   hex SHA-256 of the file
    chunks  of each :data:`CHUNK_ROWS` rows in turn; empty in manifests of earlier versions
    """

    whole: str
    chunks: tuple[str, ...] = ()


class StoredImages(Sequence[NDArray[np.uint8]]):
    """(N,3,H,W) uint8, by rows; the rows that are read are checked first.

    A chunk is checked when one of its rows is first read, and again when the file's size or time
    has changed since; without chunk digests the whole file is. Any thread may read.

    Raises :class:`UserError` where the file is not what its digests say, and ``ValueError`` or
    ``OSError`` at once where it is no array of images.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, digests: Digests) -> None:
        self.path = path
        self._digests = digests
        with path.open("rb") as file:
            major = npy_format.read_magic(file)
            if major != (1, 0):
                raise ValueError(f"{path.name} has format version {major}")
            shape, fortran, dtype = npy_format.read_array_header_1_0(file)
            self._offset = file.tell()
            self._fd = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._fd)
        if dtype != np.uint8 or fortran or len(shape) != 4 or shape[1] != 3:
            raise ValueError(f"{path.name} holds {dtype} {shape}")
        self.shape: tuple[int, int, int, int] = shape
        self._row_bytes = math.prod(shape[1:])
        if os.fstat(self._fd).st_size != self._offset + shape[0] * self._row_bytes:
            raise ValueError(f"the size of {path.name} does not match its {shape[0]} images")
        if digests.chunks and len(digests.chunks) != -(-shape[0] // CHUNK_ROWS):
            raise ValueError(
                f"{path.name} has {shape[0]} images, but the manifest lists other chunks"
            )
        self._lock = threading.Lock()
        self._checked: set[int] = set()
        self._state = (0, 0)

    @property
    def ndim(self) -> int:
        """Axes, as an array has them: image, height, width, channel."""
        return 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:  # type: ignore[override]
        """One image by its row, or (B,3,H,W) by a slice or an array of rows."""
        if isinstance(key, int | np.integer):
            row = int(key) + (len(self) if key < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"there is no row {key} among {len(self)} images")
            return self[np.array([row])][0]
        rows = np.arange(len(self))[key]
        out = np.empty((len(rows), *self.shape[1:]), dtype=np.uint8)
        self.read(rows, out)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Read the images of ``rows`` (B,) into ``out`` (B,3,H,W), contiguous."""
        self._check(rows)
        view = out.reshape(-1).data
        size = self._row_bytes
        # Neighbouring rows are read as one: whole batches of a test split are.
        bounds = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in zip((0, *bounds), (*bounds, len(rows)), strict=True):
            if first < last:
                place = self._offset + int(rows[first]) * size
                self._read_at(view[first * size : last * size], place)

    def _read_at(self, view: memoryview, place: int) -> None:
        while view:
            try:
                count = os.preadv(self._fd, [view], place)
            except OSError as error:
                raise UserError(f"{self.path} cannot be read ({error.strerror}).") from error
            if count == 0:
                raise self._damaged("it was cut short while it was read")
            view, place = view[count:], place + count

    def _check(self, rows: NDArray[np.int64]) -> None:
        """Check the digests of the chunks that these rows lie in."""
        status = os.fstat(self._fd)
        state = (status.st_size, status.st_mtime_ns)
        chunks = np.unique(rows // CHUNK_ROWS).tolist()
        with self._lock:
            if state != self._state:
                self._checked.clear()
                self._state = state
            waiting = [chunk for chunk in chunks if chunk not in self._checked]
            if not waiting:
                return
            if not self._digests.chunks:
                self._check_whole(status.st_size)
                waiting = list(range(-(-len(self) // CHUNK_ROWS)))
            for chunk in waiting if self._digests.chunks else ():
                first = chunk * CHUNK_ROWS
                data = bytearray((min(first + CHUNK_ROWS, len(self)) - first) * self._row_bytes)
                self._read_at(memoryview(data), self._offset + first * self._row_bytes)
                if hashlib.sha256(data).hexdigest() != self._digests.chunks[chunk]:
                    raise self._damaged(f"images {first} and following are not those prepared")
            self._checked.update(waiting)

    def _check_whole(self, size: int) -> None:
        digest, place = hashlib.sha256(), 0
        data = bytearray(1 << 24)
        while place < size:
            view = memoryview(data)[: min(len(data), size - place)]
            self._read_at(view, place)
            digest.update(view)
            place += len(view)
        if digest.hexdigest() != self._digests.whole:
            raise self._damaged("its checksum is not that of the manifest")

    def _damaged(self, why: str) -> UserError:
        folder = self.path.parent
        return UserError(
            f"{self.path} is damaged ({why}); remove {folder} and run "
            f"`starprompt data prepare {folder.name}`."
        )


def chunk_digests(path: Path, workers: int) -> tuple[list[str], list[bytes]]:
    """Digests of an array of images: hex SHA-256 of each :data:`CHUNK_ROWS` rows, and 16 bytes of
    each image, equal for equal pixels."""
    images = np.load(path, mmap_mode="r")

    def digest(first: int) -> tuple[str, list[bytes]]:
        rows = images[first : first + CHUNK_ROWS].copy()
        of_rows = [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]
        return hashlib.sha256(rows.data).hexdigest(), of_rows

    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(digest, range(0, len(images), CHUNK_ROWS)))
    return [chunk for chunk, _ in done], [row for _, rows in done for row in rows]


def read_rows(images: Any) -> Callable[[NDArray[np.int64], NDArray[np.uint8]], None]:
    """How rows of ``images``, on disk or in memory, are read into an array."""
    if isinstance(images, StoredImages):
        return images.read

    def take(rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        np.take(images, rows, axis=0, out=out, mode="clip")

    return take
