"""Archives of strangers come out whole or not at all."""

import errno
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from starprompt.data import archives
from starprompt.data.archives import extract
from starprompt.errors import UserError
from tests.helpers.source_makers import tar_of, zip_of


def _tar_with(name: str, kind: bytes, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        good = tarfile.TarInfo("good.txt")
        tar.addfile(good, io.BytesIO())
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)
    return buffer.getvalue()


def _zip_with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def _encrypted_zip() -> bytes:
    data = bytearray(zip_of({"a.txt": b"secret"}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    return bytes(data)


def _sparse_tar() -> bytes:
    """A file of 2**40 bytes that are nearly all holes, as GNU tar writes it."""
    info = tarfile.TarInfo("giant")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:398], header[398:410] = b"00000000000\0", b"00000000000\0"
    header[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header[:512]):06o}\0 ".encode()
    return bytes(header) + bytes(1024)


def _bomb() -> bytes:
    """A zip of a few bytes that says that it unpacks to 2 GB."""
    data = bytearray(zip_of({"a.txt": b"x"}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (2**31 - 1).to_bytes(4, "little")
    return bytes(data)


def _unknown_method() -> bytes:
    data = bytearray(zip_of({"a.txt": b"x"}))
    for header, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.index(header) + place
        data[at : at + 2] = b"\x63\x00"
    return bytes(data)


def _long_header() -> bytes:
    """A tar whose one header says that a name of 2**40 bytes follows."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**40
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize(
    "data",
    [
        _unknown_method(),
        _long_header(),
        b"",
        b"\x1f\x8b\x08" + bytes(40),
        b"BZh9" + bytes(40),
        b"\xfd7zXZ\x00" + bytes(40),
        tar_of({"a": os.urandom(3000)}, "w:gz")[:-900] + bytes(900),
        zip_of({"a" * 300: b"x"}),
        zip_of({"a": b"some text"}).replace(b"some text", b"other txt"),
    ],
)
def test_a_damaged_archive_is_one_sentence_and_leaves_nothing(tmp_path, data):
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(UserError, match=r"bad is damaged \(.*\); remove it") as caught:
        extract(tmp_path / "bad", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tar_of({"a/../../out.txt": b"x"}), "leaves the folder"),
        (tar_of({"/tmp/out-of-it.txt": b"x"}), "leaves the folder"),
        (_tar_with("link", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (_tar_with("link", tarfile.SYMTYPE, "good.txt"), "is a link"),
        (_tar_with("link", tarfile.LNKTYPE, "good.txt"), "is a link"),
        (_tar_with("pipe", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (_tar_with("device", tarfile.CHRTYPE), "neither a file nor a folder"),
        (zip_of({"../out.txt": b"x"}), "leaves the folder"),
        (zip_of({"/out.txt": b"x"}), "leaves the folder"),
        (zip_of({"a\\..\\..\\out.txt": b"x"}), "leaves the folder"),
        (zip_of({"C:/out.txt": b"x"}), "leaves the folder"),
        (_zip_with_link(), "is a link"),
        (zip_of({"a": b"1", "./a": b"2"}), "has the name of another member"),
        (zip_of({"a": b"1", "a/b": b"2"}), "has the name of another member"),
        (zip_of({"a/b": b"1", "a": b"2"}), "has the name of another member"),
        (tar_of({"a": b"1", "a/b": b"2"}), "has the name of another member"),
        (tar_of({"a/b": b"1", "a": b"2"}), "has the name of another member"),
        (_encrypted_zip(), "is encrypted"),
        (_sparse_tar(), "is a file with holes"),
        (_bomb(), "makes it more than 1,073,741,824 bytes to unpack"),
    ],
)
def test_an_archive_that_reaches_out_is_refused(tmp_path, data, why):
    archive = tmp_path / "sub" / "bad"
    archive.parent.mkdir()
    archive.write_bytes(data)
    with pytest.raises(UserError, match=f"is refused: its member .* {why}"):
        extract(archive, tmp_path / "sub" / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["bad", "sub"]


@pytest.mark.parametrize("pack", [tar_of, lambda m: tar_of(m, "w:gz"), zip_of])
def test_a_good_archive_comes_out_whole_and_a_cut_one_not_at_all(tmp_path, pack):
    members = {"a/b.txt": os.urandom(40_000), "c.txt": b"2"}
    archive = tmp_path / "archive"
    archive.write_bytes(pack(members))
    folder = extract(archive, tmp_path / "out")
    for name, data in members.items():
        assert (folder / name).read_bytes() == data
    archive.write_bytes(pack(members)[:20_000])
    with pytest.raises(UserError, match="is damaged"):
        extract(archive, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


@contextmanager
def read_through(raw: type[io.FileIO]) -> Iterator[None]:
    """Archives are read by ``raw`` in place of Python's own class."""
    before = archives._Archive.__bases__
    archives._Archive.__bases__ = (raw,)
    try:
        yield
    finally:
        archives._Archive.__bases__ = before


@pytest.mark.parametrize("code", ["EIO", "ESTALE"])
@pytest.mark.parametrize("pack", [tar_of, lambda m: tar_of(m, "w:gz"), zip_of])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_archive_that_could_not_be_read_is_not_damaged(tmp_path, code, pack, after):
    """The disk's failure is none of the archive's, nor of what is unpacked."""
    archive = tmp_path / "archive"
    archive.write_bytes(pack({"a": os.urandom(40_000), "b": os.urandom(40_000)}))
    real, calls = io.FileIO.readinto, []

    def readinto(self, buffer):
        calls.append(1)
        if len(calls) > after:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        return real(self, buffer)

    refused = pytest.raises(UserError, match=rf"{archive} could not be read: .*try again")
    with refused, read_through(type("Failing", (io.FileIO,), {"readinto": readinto})):
        extract(archive, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


def test_an_archive_that_may_not_be_read_is_named_as_such(tmp_path):
    archive = tmp_path / "archive"
    archive.write_bytes(tar_of({"a": b"1"}))

    def opener(self, path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    refused = pytest.raises(UserError, match=r"archive could not be read: Permission denied; ")
    with refused, read_through(type("Closed", (io.FileIO,), {"__init__": opener})):
        extract(archive, tmp_path / "out")
