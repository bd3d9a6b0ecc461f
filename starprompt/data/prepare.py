"""Preparation: every image decoded once, to one size, into a memory map.

Work goes on in ``prepared/.NAME.work``; when all is there, the folder gets its final name. A
preparation that was interrupted goes on where it was; two at once wait for each other.
"""

import os
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from starprompt.data.download import download, find_files, local_folder, provenance, raw_folder
from starprompt.data.equal_images import Image, equal_images
from starprompt.data.first_counts import first_counts, note_first_counts
from starprompt.data.formats import Listing, RawSplit
from starprompt.data.image_map import Options, finish_split, write_split
from starprompt.data.registry import DatasetSpec
from starprompt.data.sources import ImageFolder, Source
from starprompt.data.store import (
    FORMAT_VERSION,
    SPLITS,
    fingerprint,
    prepared_folder,
    read_manifest,
)
from starprompt.data.stored_images import CHUNK_ROWS, chunk_digests
from starprompt.errors import UserError
from starprompt.files import digest_of, read_json, sha256_file, write_json, write_trouble

#: Undecodable images that one message names.
MOST_NAMED = 200
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


def prepare(
    spec: DatasetSpec, root: Path, *, skip_corrupt: bool = False, workers: int | None = None
) -> Path:
    """Fetch and prepare a data set under ``root`` if it is not prepared; returns its folder.

    skip_corrupt  leave out images that cannot be decoded (they are named in the manifest);
                  otherwise all are looked at, and :class:`UserError` names those
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
            f"({error.strerror}); set STARPROMPT_DATA to a writable folder."
        ) from error
    try:
        if not is_current(spec, root):
            _prepare(spec, root, Options(skip_corrupt, workers or available_cores()))
    except OSError as error:
        place = error.filename or final
        raise write_trouble(final.parent, error) or UserError(
            f"Data set {spec.name!r} could not be prepared ({place}: "
            f"{error.strerror or error}); fix that and prepare it again."
        ) from error
    finally:
        lock.release()
    return final


def is_current(spec: DatasetSpec, root: Path) -> bool:
    """Whether the data set is prepared as its description and, for own folders, its images say."""
    manifest = read_manifest(prepared_folder(root, spec.name))
    if manifest is None or manifest.get("fingerprint") != fingerprint(spec):
        return False
    folder, form = local_folder(spec.sources[0], root), spec.sources[0].format
    if folder is None or not isinstance(form, ImageFolder):
        return True
    from starprompt.data.formats.folder import folder_state

    try:
        if not folder.is_dir():
            return True
        return manifest["source"]["provenance"]["state"] == folder_state(form, root)
    except (KeyError, TypeError, OSError):  # an altered manifest, or a folder that may not be read
        return False


def available_cores() -> int:
    """Cores that this process may use: a scheduler's limit counts, where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepare(spec: DatasetSpec, root: Path, options: Options) -> None:
    final = prepared_folder(root, spec.name)
    first_counts(root, spec.name)  # damaged ones end it now, not when all is decoded
    source = download(spec, root)
    unpacked = _unpacking_folder(spec, source, root)
    listing = read_source(spec, source, root, unpacked)
    names = spec.class_names or list(listing.class_names)
    work = _work_folder(final, fingerprint(spec), listing)
    options = replace(options, upright=getattr(source.format, "exif", False))
    skipped: dict[str, dict[int, str]] = {}
    digests: dict[str, str] = {}
    for split in SPLITS:
        raw: RawSplit = getattr(listing, split)
        skipped[split], digest = write_split(work, split, raw, getattr(spec.stored, split), options)
        if not skipped[split]:  # else the file is written once more
            digests[f"{split}_images.npy"] = digest
    if not options.skip_corrupt:
        _refuse_undecodable(spec, skipped)
    kept = {s: finish_split(work, s, getattr(listing, s).labels, skipped[s]) for s in SPLITS}
    if any(skipped.values()):
        _refuse_missing_classes(
            spec, names, {s: getattr(listing, s).labels[kept[s]] for s in SPLITS}
        )
    write_json(work / "class_names.json", names)
    (work / "progress.json").unlink()
    facts = listing.provenance | provenance(spec, source, root)
    described = source.model_dump(mode="json") | {"provenance": facts}
    chunks, images = {}, []
    for split in SPLITS:
        raw = getattr(listing, split)
        chunks[split], rows = chunk_digests(work / f"{split}_images.npy", options.workers)
        images += [
            Image(split, int(raw.labels[row]), raw.images.name(row), digest)
            for row, digest in zip(kept[split].tolist(), rows, strict=True)
        ]
    manifest = _manifest(spec, work, len(names), skipped, described, digests)
    manifest |= {"chunks": {"rows": CHUNK_ROWS, **chunks}, "equal_images": equal_images(images)}
    write_json(work / "manifest.json", manifest)
    if not any(skipped.values()):
        note_first_counts(root, spec.name, manifest["counts"])
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
                f"Data set {spec.name!r}: its description states {classes} classes, but "
                f"{what} has {count}; correct classes or class_names in its YAML, or download "
                "it again."
            )
    names = spec.class_names or list(listing.class_names)
    _refuse_missing_classes(spec, names, {s: getattr(listing, s).labels for s in SPLITS})
    spec.task_ends(classes)
    return listing


def _refuse_missing_classes(
    spec: DatasetSpec, names: list[str], labels: dict[str, NDArray[np.int64]]
) -> None:
    """Every class needs an image to train and one to test on."""
    for split, of_split in labels.items():
        counts = np.bincount(of_split, minlength=len(names))
        if missing := [names[label] for label in np.flatnonzero(counts == 0)]:
            shown = ", ".join(map(repr, missing[:5]))
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            which = "training image" if split == "train" else "test image"
            raise UserError(
                f"Data set {spec.name!r}: {shown}{more} {'have' if len(missing) > 1 else 'has'} "
                f"no {which}; add some or leave the class out."
            )


def _refuse_undecodable(spec: DatasetSpec, skipped: dict[str, dict[int, str]]) -> None:
    """Name all images that cannot be decoded, so that one attempt shows what is to be mended."""
    bad = [why for of_split in skipped.values() for _, why in sorted(of_split.items())]
    if bad:
        shown = "; ".join(bad[:MOST_NAMED])
        more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        raise UserError(
            f"Data set {spec.name!r}: {len(bad)} of its images cannot be decoded: {shown}{more}; "
            "replace them, or leave such images out with --skip-corrupt."
        )


def _unpacking_folder(spec: DatasetSpec, source: Source, root: Path) -> Path:
    """A folder to unpack into, with what an interrupted preparation of these files left there."""
    folder = prepared_folder(root, spec.name).with_name(f".{spec.name}.unpacked")
    raw = raw_folder(root, spec.name)
    status = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in find_files(raw, "*")]
    origin = {"source": source.model_dump(mode="json"), "files": digest_of(status)}
    note = folder / "origin.json"
    try:
        known = read_json(note)
    except (OSError, ValueError):
        known = None
    if known != origin:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(note, origin)
    return folder


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
        known = read_json(work / "progress.json")
    except (OSError, ValueError):
        known = None
    if not _is_progress(known) or known.get("identity") != identity:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_json(work / "progress.json", {"identity": identity, "splits": {}})
    return work


def _is_progress(value: Any) -> bool:
    """Whether this is what a preparation notes of its progress."""
    splits = value.get("splits") if isinstance(value, dict) else None
    return isinstance(splits, dict) and all(
        isinstance(state, dict)
        and type(state.get("done")) is int
        and isinstance(state.get("skipped"), dict)
        for state in splits.values()
    )


def _started() -> str:
    """What tells this start of this machine from others; empty where the system doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


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
