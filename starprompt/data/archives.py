"""Unpacking archives of strangers: only files and folders, and only into the given folder."""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from starprompt.errors import UserError, reason
from starprompt.files import atomic_path, reading

#: What an archive may unpack to: a multiple of its own bytes, and this much in any case. Images
#: hardly shrink in an archive, and lists seldom to a tenth.
MOST_GROWTH, ALWAYS_ADMITTED = 100, 2**30
MOST_MEMBERS = 5_000_000
#: longest header that tells a tar's member a name; longer ones would be read into memory whole
MOST_TAR_HEADER = 1_000_000

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    # gzip and bz2 raise OSError without a number for damage; zip for methods it doesn't know
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
    MemoryError,
)


def extract(archive: Path, folder: Path) -> Path:
    """Unpack a tar (plain or compressed) or a zip into ``folder``, whole or not at all.

    A folder that is there already is taken as unpacked. Raises :class:`UserError` for a damaged
    or encrypted archive, and for one with a link, a device, a sparse file, a path that leaves the
    folder, two members of one name, or more to unpack than :data:`MOST_GROWTH` times its size.
    """
    if folder.is_dir():
        return folder
    with atomic_path(folder) as part:
        part.mkdir(parents=True)
        try:
            with BufferedReader(_Archive(archive)) as file:
                is_zip = zipfile.is_zipfile(file)
                file.seek(0)
                (_extract_zip if is_zip else _extract_tar)(archive, file, part)
        except _DAMAGE as error:
            raise _damaged(archive, error) from error
        except OSError as error:
            if error.errno is not None and not _is_of_a_name(error):
                raise
            raise _damaged(archive, error) from error
    return folder


class _Archive(FileIO):
    """An archive to read. What the system fails to read is no damage, whatever the libraries make
    of an OSError, and no failed write of what is unpacked: it is raised as :class:`UserError`."""

    def __init__(self, path: Path) -> None:
        with reading(path):
            super().__init__(path)

    def readinto(self, buffer: Any) -> int:
        with reading(Path(str(self.name))):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with reading(Path(str(self.name))):
            return super().readall()


def _damaged(archive: Path, error: Exception) -> UserError:
    what = reason(error)
    return UserError(f"{archive} is damaged ({what}); remove it and download it again.")


def _is_of_a_name(error: OSError) -> bool:
    """Whether a member's name, not the disk, is what the system refused."""
    import errno

    return error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR)


def _refuse(archive: Path, member: str, why: str) -> UserError:
    shown = repr(member) if len(member) <= 200 else repr(member[:200]) + "..."
    return UserError(
        f"{archive} is refused: its member {shown} {why}; get the archive again from its publisher."
    )


class _Census:
    """Counts what an archive holds, and refuses the member that is too much or is there twice."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.most = max(ALWAYS_ADMITTED, MOST_GROWTH * archive.stat().st_size)
        self.bytes = 0
        self.members = 0
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def admit(self, name: str, size: int, is_folder: bool) -> None:
        """Note a member; raises :class:`UserError` for one that must not be unpacked."""
        self.members += 1
        self.bytes += size
        if _leaves(name):
            raise _refuse(self.archive, name, "leaves the folder")
        if size < 0 or self.bytes > self.most:
            raise _refuse(self.archive, name, f"makes it more than {self.most:,} bytes to unpack")
        if self.members > MOST_MEMBERS:
            raise _refuse(self.archive, name, f"is one more than {MOST_MEMBERS:,}")
        path = PurePosixPath(name)
        if not path.parts and not is_folder:
            raise _refuse(self.archive, name, "has no name")
        above = {parent.as_posix() for parent in path.parents}
        taken = self.files if is_folder else self.files | self.folders
        if path.as_posix() in taken or above & self.files:
            raise _refuse(self.archive, name, "has the name of another member")
        self.folders |= above
        (self.folders if is_folder else self.files).add(path.as_posix())


class _BoundedTarInfo(tarfile.TarInfo):
    """A member whose extended headers must be short and whose sizes must not be negative."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        headers = (
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )
        if self.type in headers and self.size > MOST_TAR_HEADER:
            raise tarfile.ReadError(f"a header has {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


def _extract_tar(archive: Path, file: BinaryIO, folder: Path) -> None:
    census = _Census(archive)
    # A second guard behind the checks below, which Python has from 3.11.4 on.
    guard: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(fileobj=file, tarinfo=_BoundedTarInfo) as tar:
        for member in _members(tar):
            if member.issym() or member.islnk():
                raise _refuse(archive, member.name, "is a link")
            if member.issparse():
                raise _refuse(archive, member.name, "is a file with holes")
            if not (member.isfile() or member.isdir()):
                raise _refuse(archive, member.name, "is neither a file nor a folder")
            census.admit(member.name, member.size, member.isdir())
            tar.extract(member, folder, set_attrs=False, **guard)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in their order; none is kept, which for millions would fill the memory."""
    while (member := tar.next()) is not None:
        yield member
        tar.members = []  # type: ignore[attr-defined]


def _extract_zip(archive: Path, opened: BinaryIO, folder: Path) -> None:
    census = _Census(archive)
    with zipfile.ZipFile(opened) as file:
        for member in file.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refuse(archive, member.filename, "is a link")
            if member.flag_bits & 0x1:
                raise _refuse(archive, member.filename, "is encrypted")
            census.admit(member.filename.replace(os.sep, "/"), member.file_size, member.is_dir())
        file.extractall(folder)


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    odd = ":" in "".join(path.parts[:1]) or "\0" in name
    return path.is_absolute() or ".." in path.parts or odd
