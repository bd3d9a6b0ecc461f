"""Preparation: every image decoded once, to one size, into a memory map.

Work goes on in ``prepared/.NAME.work``; when all is there, the folder gets its final name. A
preparation that was interrupted goes on where it was; two at once wait for each other.
"""

import copy
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from starprompt.data.decode import CorruptImageError, decode, to_stored
from starprompt.data.download import download, find_files, local_folder, provenance, raw_folder
from starprompt.data.formats import Listing, Raw, RawSplit
from starprompt.data.registry import DatasetSpec
from starprompt.data.sources import Source
from starprompt.data.steps import CenterCrop, Resize
from starprompt.data.store import FORMAT_VERSION, SPLITS, prepared_folder, read_manifest
from starprompt.errors import UserError
from starprompt.files import digest_of, sha256_file, write_json

#: Rows decoded between two notes of progress: what an interruption can cost.
CHUNK = 256

#: Which reader knows a format; imported when needed, as some need heavy libraries.
READERS = {
    "sklearn-digits": "digits",
    "image-folder": "folder",
    "listed-images": "listed",
    "split-json": "split_json",
    "parquet-images": "parquet",
    "pickled-arrays": "arrays",
    "torch-tensors": "arrays",
    "numpy-archives": "arrays",
    "cifar100": "arrays",
}


def fingerprint(spec: DatasetSpec) -> str:
    """Digest of all in a spec that the prepared files depend on (not tasks or transforms)."""
    return digest_of(
        {
            "format": FORMAT_VERSION,
            "sources": [source.model_dump() for source in spec.sources],
            "stored": spec.stored.model_dump(),
            "class_names": spec.class_names,
        }
    )


@dataclass(frozen=True)
class Options:
    """How to prepare: what to do with images that cannot be decoded, and on how many threads."""

    skip_corrupt: bool = False
    workers: int = 1


def prepare(
    spec: DatasetSpec, root: Path, *, skip_corrupt: bool = False, workers: int | None = None
) -> Path:
    """Fetch and prepare a data set under ``root`` if it is not prepared; returns its folder.

    skip_corrupt  leave out images that cannot be decoded (they are named in the manifest);
                  otherwise the first one ends the preparation with :class:`UserError`
    workers       decoding threads; all cores by default

    Raises :class:`UserError` when the source is missing or not what it should be.
    """
    final = prepared_folder(root, spec.name)
    if is_current(spec, root):
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(final.with_name(f".{spec.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"Data set {spec.name!r} is not prepared and {final.parent} cannot be written "
            f"({error.strerror}); set STARPROMPT_DATA to a folder that can."
        ) from error
    try:
        if not is_current(spec, root):
            _prepare(spec, root, Options(skip_corrupt, workers or available_cores()))
    finally:
        lock.release()
    return final


def is_current(spec: DatasetSpec, root: Path) -> bool:
    """Whether the data set is prepared as its description and, for own folders, its images say."""
    manifest = read_manifest(prepared_folder(root, spec.name))
    if manifest is None or manifest.get("fingerprint") != fingerprint(spec):
        return False
    folder = local_folder(spec.sources[0], root)
    if folder is None or not folder.is_dir():
        return True
    from starprompt.data.formats.folder import folder_state

    return manifest["source"]["provenance"].get("state") == folder_state(folder)


def available_cores() -> int:
    """Cores that this process may use: a scheduler's limit counts, where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepare(spec: DatasetSpec, root: Path, options: Options) -> None:
    final = prepared_folder(root, spec.name)
    source = download(spec, root)
    unpacked = _unpacking_folder(spec, source, root)
    listing = read_source(spec, source, root, unpacked)
    names = spec.class_names or list(listing.class_names)
    work = _work_folder(final, fingerprint(spec), listing)
    skipped, digests = {}, {}
    for split in SPLITS:
        raw: RawSplit = getattr(listing, split)
        skipped[split], digest = _write_split(
            work, split, raw, getattr(spec.stored, split), options
        )
        if not skipped[split]:  # else the file was written once more
            digests[f"{split}_images.npy"] = digest
    write_json(work / "class_names.json", names)
    (work / "progress.json").unlink()
    facts = listing.provenance | provenance(spec, source, root)
    described = source.model_dump(mode="json") | {"provenance": facts}
    write_json(work / "manifest.json", _manifest(spec, work, len(names), skipped, described, digests))
    _note_counts(final, work)
    if final.exists():
        shutil.rmtree(final)
    work.replace(final)
    shutil.rmtree(unpacked, ignore_errors=True)


def read_source(spec: DatasetSpec, source: Source, root: Path, unpacked: Path) -> Listing:
    """List a source's images and labels.

    Raises :class:`UserError` when its files do not belong together or have other classes than the
    description.
    """
    reader = import_module(f"starprompt.data.formats.{READERS[source.format.kind]}")
    files = root if local_folder(source, root) is not None else raw_folder(root, spec.name)
    listing: Listing = reader.read(source.format, files, unpacked)
    highest = -1
    for split in SPLITS:
        raw: RawSplit = getattr(listing, split)
        if len(raw.images) != len(raw.labels):
            raise UserError(
                f"Data set {spec.name!r}: its {split} split has {len(raw.images)} images but "
                f"{len(raw.labels)} labels; its files do not belong together."
            )
        highest = max(highest, int(raw.labels.max(initial=-1)))
    classes = spec.classes or len(spec.class_names or listing.class_names)
    for what, count in (
        ("class_names", len(spec.class_names or listing.class_names)),
        ("its source", max(len(listing.class_names), highest + 1)),
    ):
        if count != classes:
            raise UserError(
                f"Data set {spec.name!r}: its description means {classes} classes, {what} has "
                f"{count}; correct classes or class_names in its YAML, or fetch it again."
            )
    return listing


def _unpacking_folder(spec: DatasetSpec, source: Source, root: Path) -> Path:
    """A folder to unpack into, with what an interrupted preparation of these files left there."""
    folder = prepared_folder(root, spec.name).with_name(f".{spec.name}.unpacked")
    raw = raw_folder(root, spec.name)
    status = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in find_files(raw, "*")]
    origin = {"source": source.model_dump(mode="json"), "files": digest_of(status)}
    note = folder / "origin.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if known != origin:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(note, origin)
    return folder


def _note_counts(final: Path, work: Path) -> None:
    """Remember the counts of a data set's first preparation, for later ones to be held against."""
    path = final.with_name("counts.json")
    manifest = json.loads((work / "manifest.json").read_text(encoding="utf-8"))
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        counts = {}
    if not any(manifest["skipped"].values()):
        counts.setdefault(final.name, manifest["counts"])
        write_json(path, counts)


def _work_folder(final: Path, wanted: str, listing: Listing) -> Path:
    """The folder of an interrupted preparation of the same thing, or an empty one."""
    work = final.with_name(f".{final.name}.work")
    identity = {
        "fingerprint": wanted,
        "state": listing.provenance.get("state"),
        "labels": {s: digest_of(getattr(listing, s).labels.tolist()) for s in SPLITS},
        "machine": _started(),
    }
    try:
        known = json.loads((work / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if known.get("identity") != identity:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_json(work / "progress.json", {"identity": identity, "splits": {}})
    return work


def _started() -> str:
    """What tells this start of this machine from others; empty where the system doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _write_split(
    work: Path, split: str, raw: RawSplit, steps: list[Resize | CenterCrop], options: Options
) -> tuple[dict[int, str], str]:
    """Decode one split into the work folder.

    Returns the rows left out and why, and the SHA-256 of the images' file as it then is.
    """
    progress = json.loads((work / "progress.json").read_text(encoding="utf-8"))
    state = progress["splits"].setdefault(split, {"done": 0, "skipped": {}})
    total = len(raw.labels)
    images, sizes = _open_arrays(work, split, raw, steps, state["done"] == 0)
    store = _storer(raw, steps, images, sizes)
    bar = tqdm(total=total, initial=state["done"], desc=f"{work.name[1:-5]} {split}", disable=None)
    keeping: Future[None] | None = None
    with (
        bar,
        _one_torch_thread(steps),
        _Keeper(work, images, split) as keeper,
        ThreadPoolExecutor(options.workers) as pool,
    ):
        for start in range(state["done"], total, CHUNK):
            stop = min(start + CHUNK, total)
            for row, why in pool.map(store, range(start, stop), raw.images.take(start, stop)):
                if why is not None and not options.skip_corrupt:
                    raise UserError(
                        f"An image cannot be decoded: {why}; replace it, or leave such images out "
                        "with --skip-corrupt."
                    )
                if why is not None:
                    state["skipped"][str(row)] = why
            state["done"] = stop
            if keeping is not None:
                keeping.result()
            keeping = keeper.keep(stop, copy.deepcopy(progress))
            bar.update(stop - start)
        digest = keeper.digest()
    skipped = {int(row): why for row, why in state["skipped"].items()}
    _finish_split(work, split, images, sizes, raw.labels, sorted(skipped))
    return skipped, digest


class _Keeper:
    """Digests decoded rows and then notes the progress, in a thread of its own, while the next
    rows are decoded.

    Nothing waits for the disk: what the kernel has taken outlives the process. It does not outlive
    the machine, which is why a preparation begun before the machine's last start begins anew.
    """

    def __init__(self, work: Path, images: np.memmap, split: str) -> None:
        self._progress = work / "progress.json"
        self._images = images
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
        write_json(self._progress, progress)

    def _digest_to(self, rows: int) -> None:
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
    raw: RawSplit, steps: list[Resize | CenterCrop], images: np.memmap, sizes: np.memmap
) -> Callable[[int, Raw], tuple[int, str | None]]:
    """What a thread does with one image: its row, and why it could not be decoded, if so."""

    def store(row: int, item: Raw) -> tuple[int, str | None]:
        try:
            picture = decode(item)
        except CorruptImageError as error:
            return row, f"{raw.images.name(row)}: {error}"
        pixels, shown = to_stored(picture, steps)
        if pixels.shape != images.shape[1:]:
            raise UserError(
                f"{raw.images.name(row)} is {pixels.shape[2]}x{pixels.shape[1]} pixels, the first "
                f"of its split {images.shape[3]}x{images.shape[2]}; give the data set a `stored` "
                "size in its YAML."
            )
        images[row] = pixels
        sizes[row] = shown
        return row, None

    return store


def _open_arrays(
    work: Path, split: str, raw: RawSplit, steps: list[Resize | CenterCrop], fresh: bool
) -> tuple[np.memmap, np.memmap]:
    paths = work / f"{split}_images.npy", work / f"{split}_sizes.npy"
    if not fresh:
        return open_memmap(paths[0], mode="r+"), open_memmap(paths[1], mode="r+")
    total = len(raw.labels)
    shape = _first_shape(raw, steps)
    images = open_memmap(paths[0], mode="w+", dtype=np.uint8, shape=(total, *shape))
    sizes = open_memmap(paths[1], mode="w+", dtype=np.int32, shape=(total, 2))
    for path in paths:
        _reserve(path)
    return images, sizes


def _reserve(path: Path) -> None:
    """Claim a map's room on the disk now: written into a full disk, a map kills its process."""
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


def _first_shape(raw: RawSplit, steps: list[Resize | CenterCrop]) -> tuple[int, ...]:
    """The stored shape of a split's first image that can be decoded."""
    for row in range(len(raw.labels)):
        try:
            return to_stored(decode(raw.images.take(row, row + 1)[0]), steps)[0].shape
        except CorruptImageError:
            continue
    return (3, 1, 1)


def _finish_split(
    work: Path,
    split: str,
    images: np.memmap,
    sizes: np.memmap,
    labels: NDArray[np.int64],
    skipped: list[int],
) -> None:
    """Write the labels; where rows were left out, close the gaps."""
    keep = np.setdiff1d(np.arange(len(labels)), skipped)
    np.save(work / f"{split}_labels.npy", labels[keep])
    for name, source in (("images", images), ("sizes", sizes)):
        if len(source) == len(keep):  # nothing left out, or closed before an interruption
            continue
        path = work / f"{split}_{name}.npy"
        part = work / f"{split}_{name}.dense.npy"
        shape = (len(keep), *source.shape[1:])
        dense = open_memmap(part, mode="w+", dtype=source.dtype, shape=shape)
        for start in range(0, len(keep), CHUNK):
            dense[start : start + CHUNK] = source[keep[start : start + CHUNK]]
        dense.flush()
        part.replace(path)


def _manifest(
    spec: DatasetSpec,
    work: Path,
    n_classes: int,
    skipped: dict[str, dict[int, str]],
    source: dict[str, Any],
    digests: dict[str, str],
) -> dict[str, Any]:
    """The manifest of what ``work`` holds; ``digests`` are those of files that are known."""
    labels = {split: np.load(work / f"{split}_labels.npy") for split in SPLITS}
    files = {
        path.name: digests.get(path.name) or sha256_file(path) for path in sorted(work.iterdir())
    }

    def per_class(split: str) -> list[int]:
        return np.bincount(labels[split], minlength=n_classes).tolist()

    return {
        "name": spec.name,
        "format_version": FORMAT_VERSION,
        "fingerprint": fingerprint(spec),
        "source": source,
        "stored": spec.stored.model_dump(mode="json"),
        "counts": {split: len(labels[split]) for split in SPLITS},
        "counts_per_class": {split: per_class(split) for split in SPLITS},
        "skipped": {split: list(skipped[split].values()) for split in SPLITS},
        "sha256": files,
        "digest": digest_of(files),
    }
