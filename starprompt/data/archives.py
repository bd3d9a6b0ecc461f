"""Unpacking archives of strangers: only files and folders, and only into the given folder."""

import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from starprompt.errors import UserError
from starprompt.files import atomic_path


def extract(archive: Path, folder: Path) -> Path:
    """Unpack a tar (plain or compressed) or a zip into ``folder``, whole or not at all.

    A folder that is there already is taken as unpacked. Raises :class:`UserError` for a damaged
    archive and for one with a link, a device, or a path that leaves the folder.
    """
    if folder.is_dir():
        return folder
    with atomic_path(folder) as part:
        part.mkdir(parents=True)
        try:
            if zipfile.is_zipfile(archive):
                _extract_zip(archive, part)
            else:
                _extract_tar(archive, part)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
            raise UserError(
                f"{archive} is damaged ({error}); remove it and fetch it again."
            ) from error
    return folder


def _refuse(archive: Path, member: str, why: str) -> UserError:
    return UserError(
        f"{archive} is refused: its member {member!r} {why}; get the archive again from its "
        "publisher."
    )


def _extract_tar(archive: Path, folder: Path) -> None:
    def admit(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        if member.issym() or member.islnk():
            raise _refuse(archive, member.name, "is a link")
        if not (member.isfile() or member.isdir()):
            raise _refuse(archive, member.name, "is neither a file nor a folder")
        if _leaves(member.name):
            raise _refuse(archive, member.name, "leaves the folder")
        return tarfile.data_filter(member, path)

    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter=admit)


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refuse(archive, member.filename, "is a link")
            if _leaves(member.filename):
                raise _refuse(archive, member.filename, "leaves the folder")
        file.extractall(folder)


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])
