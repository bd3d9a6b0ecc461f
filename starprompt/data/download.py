"""Bringing a data set's files into ``raw/NAME``: huggingface_hub for hubs, pooch for addresses.

A file is whole under its name or not there. What is there already is not asked for again, so a
folder that was filled by hand, or lies on a read-only share, needs no network.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock

from starprompt.data.registry import DatasetSpec
from starprompt.data.sources import (
    Fetch,
    Hub,
    ImageFolder,
    Source,
    Torchvision,
    Url,
    below_root,
    stays_below,
)
from starprompt.errors import UserError
from starprompt.files import files_below, read_json, sha256_file, write_json

log = logging.getLogger(__name__)

#: How often a transfer that broke is tried again, and after how long a silence it counts as broken.
RETRIES = 3
STALL_SECONDS = 30.0
#: Notes of what was fetched from where, beside the files.
NOTES = ".fetched.json"


class _NotFetchedError(Exception):
    """A source whose files could not all be fetched; the message says which and why."""


def raw_folder(root: Path, name: str) -> Path:
    """Where the files of ``name`` lie as they were published."""
    return Path(root) / "raw" / name


def wanted_files(source: Source) -> list[str]:
    """Names (or patterns) of the files that a source needs in the raw folder."""
    wanted: list[str] = []
    for fetch in source.fetch:
        wanted += [fetch.file] if isinstance(fetch, Url) else list(fetch.files)
    return wanted


def find_files(folder: Path, pattern: str) -> list[Path]:
    """Files in ``folder`` whose relative path or name matches, sorted; hidden ones left out.

    Raises :class:`UserError` for a folder that cannot be read: its files are not missing.
    """
    found = []
    for path in sorted(files_below(folder)):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or not path.is_file():
            continue
        if fnmatch(relative.as_posix(), pattern) or fnmatch(path.name, pattern):
            found.append(path)
    return found


def available_source(spec: DatasetSpec, root: Path) -> Source | None:
    """The first source whose files are all there, or None."""
    folder = raw_folder(root, spec.name)
    for source in spec.sources:
        if all(find_files(folder, pattern) for pattern in wanted_files(source)):
            return source
    return None


def download(spec: DatasetSpec, root: Path) -> Source:
    """Make the files of one of the data set's sources available; the first that can be.

    Raises :class:`UserError` with each source's trouble and what to put where by hand.
    """
    folder = raw_folder(root, spec.name)
    present = available_source(spec, root)
    if present is not None:
        _refuse_altered(present, folder)
        if _is_noted(folder, present) or not _has_patterns(present):
            return present
    troubles = []
    for source in spec.sources:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{spec.name}.lock")):
                _fetch_all(source, folder)
            return source
        except _NotFetchedError as error:
            troubles.append(str(error))
        except OSError as error:
            troubles.append(f"{error.filename or folder.parent}: {error.strerror}")
    if present is not None:
        return present  # patterns are matched and nothing says that anything is missing
    missing = [w for w in wanted_files(spec.sources[0]) if not find_files(folder, w)]
    raise UserError(
        f"Data set {spec.name!r} could not be downloaded ({'; '.join(troubles)}); connect to "
        f"the network, or put {', '.join(missing)} into {folder} by hand (`starprompt data "
        f"where {spec.name}`)."
    )


def provenance(spec: DatasetSpec, source: Source, root: Path) -> dict[str, Any]:
    """What the manifest says of the files: their checksums, and hub commits where known."""
    folder = raw_folder(root, spec.name)
    files = sorted({f for pattern in wanted_files(source) for f in find_files(folder, pattern)})
    return {
        "sha256": {
            f.relative_to(folder).as_posix(): sha256_file(stays_below(folder, f)) for f in files
        },
        "commits": _notes(folder).get("commits", {}),
    }


def local_folder(source: Source, root: Path) -> Path | None:
    """The folder of images that a user brings; None for every other kind of source."""
    if not isinstance(source.format, ImageFolder):
        return None
    return Path(root) / source.format.folder


def _refuse_altered(source: Source, folder: Path) -> None:
    """A file put there by hand must have the published checksum too."""
    for fetch in source.fetch:
        if not isinstance(fetch, Url) or fetch.sha256 is None:
            continue
        path = stays_below(folder, folder / fetch.file)
        if sha256_file(path) != fetch.sha256:
            raise UserError(
                f"{folder / fetch.file} does not have the published checksum {fetch.sha256}; "
                "remove it and download it again."
            )


def _origin(fetch: Fetch) -> str:
    if isinstance(fetch, Hub):
        return f"{fetch.repository}@{fetch.revision}"
    return fetch.url if isinstance(fetch, Url) else f"torchvision's {fetch.dataset}"


def _has_patterns(source: Source) -> bool:
    return any(set(name) & set("*?[") for name in wanted_files(source))


def _notes(folder: Path) -> dict[str, Any]:
    try:
        notes = read_json(folder / NOTES)
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _is_noted(folder: Path, source: Source) -> bool:
    notes = _notes(folder)
    return notes.get("wanted") == wanted_files(source) and all(
        (folder / name).is_file() for name in notes.get("files", [])
    )


def _fetch_all(source: Source, folder: Path) -> None:
    files: list[str] = []
    commits: dict[str, str] = {}
    for fetch in source.fetch:
        origin = _origin(fetch)
        try:
            if isinstance(fetch, Hub):
                commits[origin], names = _fetch_hub(fetch, folder)
                files += names
            else:
                files.append(_fetch_url(fetch, folder))
        except UserError:
            raise
        except Exception as error:  # every transport has its own; all mean: not there
            log.debug("fetching %s failed", origin, exc_info=True)
            raise _NotFetchedError(f"{origin}: {_one_line(error)}") from error
    if source.fetch:
        notes = {"wanted": wanted_files(source), "files": files, "commits": commits}
        write_json(folder / NOTES, notes)


def _fetch_hub(fetch: Hub, folder: Path) -> tuple[str, list[str]]:
    """Fetch a hub repository's matching files; the resolved commit and the files' names."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    info = api.dataset_info(
        fetch.repository, revision=fetch.revision, files_metadata=True, timeout=STALL_SECONDS
    )
    commit, siblings = str(info.sha), {s.rfilename: s for s in info.siblings or []}
    names: list[str] = []
    for pattern in fetch.files:
        matching = [name for name in siblings if fnmatch(name, pattern)]
        if not matching:
            raise FileNotFoundError(f"{fetch.repository} has no file {pattern}")
        names += matching
    for name in names:
        _refuse_outside(fetch, folder, name)
        lfs = siblings[name].lfs
        if (folder / name).is_file() and lfs is None:
            continue

        def transfer(name: str = name) -> str:
            return api.hf_hub_download(
                fetch.repository, name, repo_type="dataset", revision=commit, local_dir=folder
            )

        path = Path(_patiently(transfer))
        if lfs is not None and sha256_file(path) != lfs.sha256:
            path.unlink()
            raise ValueError(f"{name} does not have the checksum that {fetch.repository} states")
    return commit, names


def _refuse_outside(fetch: Hub, folder: Path, name: str) -> None:
    """A name that a hub gives must stay below the folder, also where links lie in between."""
    try:
        stays_below(folder, folder / below_root(name))
    except ValueError as error:
        raise UserError(
            f"{fetch.repository} lists a file with the name {name[:200]!r}: {error}; nothing "
            "was downloaded, report it to the repository's owner."
        ) from error


def _patiently(transfer: Callable[[], str]) -> str:
    """Try again after a server's own error, which huggingface_hub does for questions alone, and
    after a broken connection, which versions before 1.0 report as an error of requests."""
    from huggingface_hub.errors import HfHubHTTPError

    for attempt in range(RETRIES):
        try:
            return transfer()
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            seen: Exception = error
        except OSError as error:
            if error.errno is not None:  # of a disk, not of a connection
                raise
            seen = error
        log.info("%s; trying again", _one_line(seen))
        time.sleep(2**attempt)
    return transfer()


def _fetch_url(fetch: Fetch, folder: Path) -> str:
    """Fetch one file; torchvision's class tells the address and checksum of its archive."""
    import pooch

    known: str | None
    if isinstance(fetch, Torchvision):
        from torchvision import datasets

        cls = getattr(datasets, fetch.dataset)
        file, url, known = cls.filename, cls.url, f"md5:{cls.tgz_md5}"
    else:
        assert isinstance(fetch, Url)
        file, url, known = fetch.file, fetch.url, fetch.sha256 and f"sha256:{fetch.sha256}"
    if known is None and (folder / file).is_file():
        return file
    pooch.get_logger().setLevel("WARNING")
    # A process that is killed leaves pooch's unfinished file: here the next one clears it away.
    incoming = folder / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    store = pooch.create(
        incoming, base_url="", registry={file: known}, urls={file: url}, retry_if_failed=RETRIES
    )
    stays_below(folder, folder / file)
    show = sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=show, timeout=STALL_SECONDS)
    try:
        Path(store.fetch(file, downloader=downloader)).replace(folder / file)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return file


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
