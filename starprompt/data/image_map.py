"""The images of one split, decoded on all cores into a memory map, in rows that may be taken up."""

import copy
import errno
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from starprompt.data.decode import CorruptImageError, decode, to_stored
from starprompt.data.formats import Raw, RawSplit
from starprompt.data.steps import CenterCrop, Resize
from starprompt.errors import UserError
from starprompt.files import write_json

#: Rows decoded between two notes of progress: what an interruption can cost.
CHUNK = 256
#: Rows that a thread takes at a time: each hand-over costs some 50 us, a JPEG takes 1,000.
PIECE = 16

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """How to prepare: what to do with images that cannot be decoded, on how many threads, and
    whether images are turned as their EXIF orientation says."""

    skip_corrupt: bool = False
    workers: int = 1
    upright: bool = False


def write_split(
    work: Path, split: str, raw: RawSplit, steps: list[Resize | CenterCrop], options: Options
) -> tuple[dict[int, str], str]:
    """Decode one split into ``SPLIT_images.npy`` and its companions in the work folder.

    Goes on after the rows that ``progress.json`` there counts as done, and tries those of them
    again that could not be decoded. Returns the rows that cannot be decoded (by row, the image's
    name and why), which are left black, and the SHA-256 of the images' file. Raises
    :class:`UserError` for a full disk, an image that the system cannot read, and for images of
    several sizes where none is to be stored.
    """
    progress = json.loads((work / "progress.json").read_text(encoding="utf-8"))
    state = progress["splits"].setdefault(split, _nothing_done())
    # Where no row was decoded, the stored shape is not known either.
    undecoded_alone = state["done"] == len(state["skipped"])
    if undecoded_alone or not _is_as_noted(work, split, state):
        state = progress["splits"][split] = _nothing_done()
    total = len(raw.labels)
    images, sizes = _open_arrays(work, split, raw, steps, state["done"] == 0, options.upright)
    bar = tqdm(total=total, initial=state["done"], desc=f"{work.name[1:-5]} {split}", disable=None)
    keeping: Future[None] | None = None
    with (
        bar,
        (work / f"{split}_images.npy").open("r+b") as file,
        _one_torch_thread(steps),
        _Keeper(work, images, sizes, split) as keeper,
        ThreadPoolExecutor(options.workers) as pool,
    ):
        store = _storer(raw, steps, images, sizes, file, options.upright)
        if left_out := sorted(map(int, state["skipped"])):
            again = (store(row, raw.images.take(row, row + 1)) for row in left_out)
            state["skipped"] = {str(row): why for found in again for row, why in found.items()}
            keeper.keep(state["done"], copy.deepcopy(progress)).result()

        def begin(start: int) -> tuple[int, list[Future[dict[int, str]]]]:
            stop = min(start + CHUNK, total)
            items = raw.images.take(start, stop)
            pieces = range(0, stop - start, PIECE)
            return stop, [pool.submit(store, start + i, items[i : i + PIECE]) for i in pieces]

        for stop, pieces in _one_ahead(map(begin, range(state["done"], total, CHUNK))):
            undecoded = {row: why for piece in pieces for row, why in piece.result().items()}
            state["skipped"] |= {str(row): why for row, why in undecoded.items()}
            bar.update(stop - state["done"])
            state["done"] = stop
            if keeping is not None:
                keeping.result()
            keeping = keeper.keep(stop, copy.deepcopy(progress))
        digest = keeper.digest()
    return {int(row): why for row, why in state["skipped"].items()}, digest


def _nothing_done() -> dict[str, Any]:
    return {"done": 0, "skipped": {}}


def _is_as_noted(work: Path, split: str, state: dict[str, Any]) -> bool:
    """Whether the rows that count as done are those that were written; else all begins anew."""
    rows = int(state["done"])
    try:
        images, sizes = (
            np.load(work / f"{split}_{part}.npy", mmap_mode="r") for part in ("images", "sizes")
        )
        whole = hashlib.sha256()
        with (work / f"{split}_images.npy").open("rb") as file:
            whole.update(file.read(images.offset))
            for first in range(0, rows, CHUNK):
                whole.update(file.read((min(first + CHUNK, rows) - first) * images[0].nbytes))
    except (OSError, ValueError, EOFError, AttributeError):
        return False
    digests = [whole.hexdigest(), hashlib.sha256(sizes[:rows].tobytes()).hexdigest()]
    return rows <= len(images) and digests == state.get("sha256")


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items, each after the next one has been drawn: no thread waits between two chunks."""
    drawn: deque[T] = deque()
    for item in items:
        drawn.append(item)
        if len(drawn) > 1:
            yield drawn.popleft()
    yield from drawn


class _Keeper:
    """Digests decoded rows and then notes the progress, in a thread of its own, while the next
    rows are decoded.

    Nothing waits for the disk: what the kernel has taken outlives the process. It does not outlive
    the machine, which is why a preparation begun before the machine's last start begins anew.
    """

    def __init__(self, work: Path, images: np.memmap, sizes: np.memmap, split: str) -> None:
        self._progress = work / "progress.json"
        self._split = split
        self._images = images
        self._sizes = sizes
        self._of_sizes = hashlib.sha256()
        with (work / f"{split}_images.npy").open("rb") as file:
            self._sha256 = hashlib.sha256(file.read(images.offset))
        self._digested = 0
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> "_Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def keep(self, rows: int, progress: dict[str, Any]) -> "Future[None]":
        """Digest to the end of the first ``rows`` rows, then note ``progress``, which has them."""
        return self._pool.submit(self._keep, rows, progress)

    def digest(self) -> str:
        """SHA-256 of the images' whole file, when all rows are there."""
        self._pool.submit(self._digest_to, len(self._images)).result()
        return self._sha256.hexdigest()

    def _keep(self, rows: int, progress: dict[str, Any]) -> None:
        self._digest_to(rows)
        state = progress["splits"][self._split]
        state["sha256"] = [self._sha256.hexdigest(), self._of_sizes.hexdigest()]
        write_json(self._progress, progress)

    def _digest_to(self, rows: int) -> None:
        self._of_sizes.update(self._sizes[self._digested : rows].data)
        self._sha256.update(self._images[self._digested : rows].data)
        self._digested = rows


@contextmanager
def _one_torch_thread(steps: list[Resize | CenterCrop]) -> Iterator[None]:
    """While every core decodes an image of its own, torch must not spread a resize over them."""
    if not any(isinstance(step, Resize) for step in steps):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _storer(
    raw: RawSplit,
    steps: list[Resize | CenterCrop],
    images: np.memmap,
    sizes: np.memmap,
    file: BinaryIO,
    upright: bool,
) -> Callable[[int, Sequence[Raw]], dict[int, str]]:
    """What a thread does with some images in a row: which could not be decoded, and why.

    Rows are put together in memory and written as one: through the map, every page of a new file
    costs a fault, in all two to four times as much.
    """

    def store(first: int, items: Sequence[Raw]) -> dict[int, str]:
        undecoded = {}
        rows = np.empty((len(items), *images.shape[1:]), dtype=np.uint8)
        for i, item in enumerate(items):
            try:
                picture = decode(item, upright)
            except CorruptImageError as error:
                undecoded[first + i] = f"{raw.images.name(first + i)}: {error}"
                rows[i] = 0
                continue
            pixels, sizes[first + i] = to_stored(picture, steps)
            if pixels.shape != rows.shape[1:]:
                raise UserError(
                    f"{raw.images.name(first + i)} has {pixels.shape[2]}x{pixels.shape[1]} "
                    "pixels, but the first image of its split has "
                    f"{rows.shape[3]}x{rows.shape[2]}; give the data set a `stored` size in "
                    "its YAML."
                )
            rows[i] = pixels
        _write_at(file, rows, images.offset + first * images[0].nbytes)
        return undecoded

    return store


def _write_at(file: BinaryIO, rows: NDArray[np.uint8], offset: int) -> None:
    """Write all of ``rows`` at a byte of a file that other threads write too."""
    data = rows.reshape(-1).data
    while data:
        written = os.pwrite(file.fileno(), data, offset)
        data, offset = data[written:], offset + written


def _open_arrays(
    work: Path,
    split: str,
    raw: RawSplit,
    steps: list[Resize | CenterCrop],
    fresh: bool,
    upright: bool,
) -> tuple[np.memmap, np.memmap]:
    paths = work / f"{split}_images.npy", work / f"{split}_sizes.npy"
    if not fresh:
        return open_memmap(paths[0], mode="r+"), open_memmap(paths[1], mode="r+")
    total = len(raw.labels)
    shape = _first_shape(raw, steps, upright)
    images = open_memmap(paths[0], mode="w+", dtype=np.uint8, shape=(total, *shape))
    sizes = open_memmap(paths[1], mode="w+", dtype=np.int32, shape=(total, 2))
    for path in paths:
        _reserve(path)
    return images, sizes


def _reserve(path: Path) -> None:
    """Claim a map's disk space now: written into a full disk, a map kills its process."""
    if not hasattr(os, "posix_fallocate"):
        return
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {path.parent} needs {size / 1e9:.1f} GB more; free some space "
                "and prepare again."
            ) from error
        # Some file systems cannot reserve; then it is as without.


def _first_shape(raw: RawSplit, steps: list[Resize | CenterCrop], upright: bool) -> tuple[int, ...]:
    """The stored shape of a split's first image that can be decoded."""
    for row in range(len(raw.labels)):
        try:
            return to_stored(decode(raw.images.take(row, row + 1)[0], upright), steps)[0].shape
        except CorruptImageError:
            continue
    return (3, 1, 1)


def finish_split(
    work: Path, split: str, labels: NDArray[np.int64], skipped: Iterable[int]
) -> NDArray[np.int64]:
    """Write the labels and leave out the skipped rows; returns the rows that are kept."""
    keep = np.setdiff1d(np.arange(len(labels)), list(skipped))
    np.save(work / f"{split}_labels.npy", labels[keep])
    for name in ("images", "sizes"):
        path = work / f"{split}_{name}.npy"
        source = np.load(path, mmap_mode="r")
        if len(source) == len(keep):  # nothing left out, or closed before an interruption
            continue
        part = work / f"{split}_{name}.dense.npy"
        shape = (len(keep), *source.shape[1:])
        dense = open_memmap(part, mode="w+", dtype=source.dtype, shape=shape)
        for start in range(0, len(keep), CHUNK):
            dense[start : start + CHUNK] = source[keep[start : start + CHUNK]]
        dense.flush()
        part.replace(path)
    return keep
