"""Finished runs in one archive: a zip of their files and a manifest with sizes and SHA-256.

A member is ``<experiment>/<data set>/<method>/seed<seed>/<file>``; nothing else is in the archive
but ``manifest.json``. Equal runs give equal bytes.
"""

import hashlib
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from starprompt.errors import UserError, reason
from starprompt.files import NAME_PATTERN, atomic_path, sealed, sha256_file, unsealed
from starprompt.record.record import MOST_RECORD, RunRecord, read_record
from starprompt.record.run_files import LARGE_FILES, PREDICTIONS, RECORD, RUN_FILES, SELECTION
from starprompt.record.verify import verify_run

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
#: largest members that are read, in bytes; a manifest of 100,000 files has a tenth of it
MOST_MANIFEST = 200_000_000
MOST_FILE = 50_000_000_000
MOST_MEMBERS = 1_000_000

_NAME = NAME_PATTERN.strip("^$")
_RUN = rf"{_NAME}/{_NAME}/{_NAME}/seed(?:0|[1-9][0-9]{{0,9}})"
_MEMBER = re.compile(rf"{_RUN}/(?:{'|'.join(map(re.escape, RUN_FILES))})")
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a method of compression that the library does not know
    RuntimeError,  # encrypted
    ValueError,
    OverflowError,
    IndexError,
)


class _Member(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    size: int = Field(ge=0, le=MOST_FILE)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    schema_version: int
    files: dict[str, _Member] = Field(min_length=1, max_length=MOST_MEMBERS)


def pack(folders: Mapping[str, Path], archive: Path, checkpoints: bool = False) -> int:
    """Write finished runs into ``archive``; return how many files it holds.

    folders      by ``<experiment>/<data set>/<method>/seed<seed>``, the folder of each run
    checkpoints  with checkpoints and diagnostics, which a merged grid needs and no table reads

    Every run is verified first. Raises :class:`UserError` for a run that is damaged or lacks a
    file.
    """
    names = [n for n in RUN_FILES if checkpoints or n not in LARGE_FILES]
    files: dict[str, dict[str, Any]] = {}
    with atomic_path(archive) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for run, folder in sorted(folders.items()):
            record = read_record(folder / RECORD)
            verify_run(folder, record, partial=not checkpoints)
            for name in names:
                files[f"{run}/{name}"] = _pack_file(packed, f"{run}/{name}", folder / name)
        manifest = sealed({"schema_version": SCHEMA_VERSION, "files": files})
        with packed.open(_info(MANIFEST), "w") as out:
            out.write(json.dumps(manifest, indent=1).encode())
    return len(files)


def _pack_file(packed: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file, packed.open(_info(name), "w", force_zip64=True) as out:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
            out.write(block)
    return {"size": size, "sha256": digest.hexdigest()}


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def unpack(archive: Path, folder: Path) -> dict[str, RunRecord]:
    """Unpack an archive of :func:`pack` into ``folder`` and verify every run in it.

    Returns the records by ``<experiment>/<data set>/<method>/seed<seed>``. Raises
    :class:`UserError` for a damaged archive, a member that the manifest does not name or that has
    another size or digest, a name that is none of a run's files, a link, more bytes than the disk
    has free, and a run that contradicts itself.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = _members(archive, packed)
            needed = sum(of.size for of in members.values())
            folder.mkdir(parents=True, exist_ok=True)
            if needed > shutil.disk_usage(folder).free:
                raise UserError(
                    f"{archive} unpacks to {needed:,} bytes, more than is free at {folder}; free "
                    "some space."
                )
            for name, member in members.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(name) as source, path.open("xb") as out:
                    _copy(archive, name, source, out, member)
    except FileNotFoundError as error:
        raise UserError(f"There is no archive {archive}; check the path.") from error
    except IsADirectoryError as error:
        raise UserError(f"{archive} is a folder, not an archive; check the path.") from error
    except _DAMAGE as error:
        raise _refused(archive, f"it is damaged: {reason(error)}") from error
    return _records(archive, folder, members)


def _members(archive: Path, packed: zipfile.ZipFile) -> dict[str, _Member]:
    """The manifest's files, after the members were held against it."""
    infos = packed.infolist()
    if len(infos) > MOST_MEMBERS:
        raise _refused(archive, f"it has more than {MOST_MEMBERS:,} members")
    names = Counter(info.filename for info in infos)
    if len(names) < len(infos):
        twice = names.most_common(1)[0][0]
        raise _refused(archive, f"{twice!r:.200} is there twice")
    for info in infos:
        if info.filename != MANIFEST and not _MEMBER.fullmatch(info.filename):
            raise _refused(archive, f"{info.filename!r:.200} is no file of a run")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(archive, f"{info.filename!r:.200} is no regular file")
    if MANIFEST not in names:
        raise _refused(archive, f"it has no {MANIFEST}")
    with packed.open(MANIFEST) as file:
        text = file.read(MOST_MANIFEST + 1)
    if len(text) > MOST_MANIFEST:
        raise _refused(archive, f"its {MANIFEST} is too large")
    try:
        value = json.loads(text)
        if isinstance(value, dict) and value.get("schema_version") != SCHEMA_VERSION:
            raise _refused(
                archive,
                f"it has schema {value.get('schema_version')!r}, this version reads "
                f"{SCHEMA_VERSION}",
            )
        manifest = _Manifest.model_validate(unsealed(value))
    except ValidationError as error:
        raise _refused(archive, f"its {MANIFEST} is not valid: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise _refused(archive, f"its {MANIFEST} is damaged: {reason(error)}") from error
    if {MANIFEST, *manifest.files} != names.keys():
        odd = sorted({MANIFEST, *manifest.files} ^ names.keys())[0]
        raise _refused(archive, f"{odd!r:.200} is in the manifest or the archive alone")
    for info in infos:
        if info.filename != MANIFEST and info.file_size != manifest.files[info.filename].size:
            raise _refused(archive, f"{info.filename} has another size than its manifest says")
    return manifest.files


def _copy(archive: Path, name: str, source: IO[bytes], out: IO[bytes], member: _Member) -> None:
    """Copy one member, never more than it should have."""
    digest, left = hashlib.sha256(), member.size
    most = MOST_RECORD if name.endswith(f"/{RECORD}") else MOST_FILE
    if left > most:
        raise _refused(archive, f"{name} has more than {most:,} bytes")
    while block := source.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            break
        digest.update(block)
        out.write(block)
    if left or digest.hexdigest() != member.sha256:
        raise _refused(archive, f"{name} is not the file that its manifest says")


def _records(archive: Path, folder: Path, names: Iterable[str]) -> dict[str, RunRecord]:
    files: dict[str, set[str]] = {}
    for name in names:
        run, _, file = name.rpartition("/")
        files.setdefault(run, set()).add(file)
    found = {}
    for run, there in sorted(files.items()):
        missing = {RECORD, PREDICTIONS, SELECTION} - there
        if missing:
            raise _refused(archive, f"{run} lacks {sorted(missing)[0]}")
        try:
            record = read_record(folder / run / RECORD)
            verify_run(folder / run, record, partial=True)
        except UserError as error:
            # The run stands in a folder that goes with this call; its name in the archive stays.
            said = str(error).replace(f"{folder}/", "").rpartition("; ")[0] or str(error)
            raise _refused(archive, said) from error
        if record.config != run.partition("/")[0]:
            raise _refused(archive, f"{run} is of the experiment {record.config!r:.100}")
        found[run] = record
    return found


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"


def _refused(archive: Path, why: str) -> UserError:
    return UserError(f"{archive} is refused ({why}); have it exported again.")


def same_run(one: Path, other: Path) -> bool:
    """Whether two folders hold the same run: equal bytes in every file that both have."""
    both = [name for name in RUN_FILES if (one / name).is_file() and (other / name).is_file()]
    return all(sha256_file(one / name) == sha256_file(other / name) for name in both)
