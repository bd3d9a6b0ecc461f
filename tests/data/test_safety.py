"""Files of strangers: malicious pickles, .npz, tensors and archives are refused, good ones read."""

import io
import os
import pickle
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from starprompt.data.archives import extract
from starprompt.data.decode import CorruptImageError, decode
from starprompt.data.formats import class_numbers
from starprompt.data.formats.arrays import read
from starprompt.data.registry import load_dataset_spec
from starprompt.data.safe_pickle import load_npz, load_pickle
from starprompt.data.sources import NumpyArchives, PickledArrays, TorchTensors
from starprompt.errors import UserError
from tests.helpers.source_makers import FOLDER, tar_of, zip_of


class _Reduces:
    """Pickles as a call of whatever it is given."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def _marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def _malicious(tmp_path: Path) -> dict[str, bytes]:
    command = f"touch {_marker(tmp_path)}"
    text = f"__import__('os').system({command!r})"
    system = os.system.__module__
    calls = {
        "os.system": _Reduces(os.system, (command,)),
        "eval": _Reduces(eval, (text,)),
        "exec": _Reduces(exec, (text,)),
        "import": _Reduces(__import__, ("antigravity",)),
        "getattr": _Reduces(getattr, ([], "append")),
        "subprocess": _Reduces(__import__("subprocess").call, (["sh", "-c", command],)),
        "open": _Reduces(open, (str(_marker(tmp_path)), "w")),
        "torch object": torch.nn.Linear(1, 1),
        "a class of ours": _Reduces(Path, ("/",)),
        "a plain subclass": Counter("ab"),
        "numpy code": _Reduces(np.load, (str(tmp_path / "x.npy"),)),
        "inside an array": np.array([_Reduces(os.system, (command,))], dtype=object),
        "inside containers": {"a": [(1, _Reduces(eval, (text,)))]},
        "codecs": _Reduces(__import__("codecs").decode, (b"x", "base64")),
    }
    made = {name: pickle.dumps(value) for name, value in calls.items()}
    made["by name, old protocol"] = f"c{system}\nsystem\n(S'{command}'\ntR.".encode()
    made["stack global"] = (
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c"
        + bytes([len(command)])
        + command.encode()
        + b"\x85R."
    )
    made["persistent id"] = b"Psomewhere\n."
    made["instance"] = f"(S'{command}'\ni{system}\nsystem\n.".encode()
    made["extension"] = b"\x80\x02\x82\x01."
    return made


NAMES = list(_malicious(Path("/nowhere")))


@pytest.mark.parametrize("name", NAMES)
def test_a_malicious_pickle_is_refused_and_never_runs(name, tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(_malicious(tmp_path)[name])
    with pytest.raises(UserError, match=r"bad\.pkl is (refused|damaged)"):
        load_pickle(path)
    assert not _marker(tmp_path).exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_out_as_they_went_in(tmp_path, protocol):
    value = {
        "images": np.random.default_rng(0).random((2, 4, 4, 3)).astype(np.float32),
        "labels": [1, 2, np.int64(3), np.float32(0.5)],
        "objects": np.array([np.zeros((2, 3), np.uint8), np.ones((3, 2), np.uint8)], dtype=object),
        "plain": (None, True, "text", b"bytes", [], {}, {b"k": -1}, 1.5, 2**80, [(1, 2, 3, 4)]),
        "big-endian": np.arange(4, dtype=">i4"),
        "nothing": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    path = tmp_path / "good.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    back = load_pickle(path)
    np.testing.assert_equal(list(back.pop("objects")), list(value.pop("objects")))
    np.testing.assert_equal(back, value)
    assert back["images"].dtype == np.float32


NUMBERS = arrays.boolean_dtypes() | arrays.integer_dtypes() | arrays.floating_dtypes()
NUMBERS |= arrays.unsigned_integer_dtypes()


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(NUMBERS, arrays.array_shapes(max_side=4)))
def test_every_plain_array_survives(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("pickle") / "array.pkl"
    path.write_bytes(pickle.dumps(array))
    np.testing.assert_array_equal(load_pickle(path), array)
    archive = path.with_suffix(".npz")
    np.savez(archive, data=array)
    np.testing.assert_array_equal(load_npz(archive, ("data",))["data"], array)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_pickle_is_an_array_still_or_one_sentence(tmp_path_factory, cut, flip, byte):
    data = bytearray(pickle.dumps([np.arange(30), "x"]))
    data[flip % len(data)] = byte
    path = tmp_path_factory.mktemp("pickle") / "x.pkl"
    path.write_bytes(bytes(data[: max(1, len(data) - cut)]))
    try:
        load_pickle(path)
    except UserError as error:
        assert str(path) in str(error)


def _hostile_arrays() -> dict[str, bytes]:
    """Pickles of admitted names alone that drive a real unpickler into memory that isn't theirs."""
    name = "cnumpy\n{}\n"
    dtype, array = name.format("dtype"), name.format("ndarray")
    made = f"cnumpy.core.multiarray\n_reconstruct\n({array}(I0\ntS'b'\ntR(I1\n"
    two = "(I2\nt"
    objects = f"{dtype}(S'O8'\nI0\nI1\ntR"
    state = "(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb"
    number = f"{dtype}(S'i8'\nI0\nI1\ntR"
    plain = "(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    named = "(I3\nS'<'\nN(S'a'\nt(dI-1\nI-1\nI0\ntb"
    divided = "(I3\nS'<'\n(S'O8'\n(I2\nttNNI8\nI8\nI0\ntb"
    buffer = "cnumpy._core.numeric\n_frombuffer\n"
    sixteen = "S'AAAAAAAAAAAAAAAA'\n"
    end = f"I0\n{sixteen}tb."
    letters = f"{dtype}(S'U4'\nI0\nI1\ntR(I3\nS'<'\nNNNI16\nI4\nI8\ntb"
    time = f"{dtype}(S'M8'\nI0\nI1\ntR(I4\nS'<'\nNNNI-1\nI-1\nI0\n(d(S'ns'\nI1\nI1\nI1\nttb"
    texts = {
        "a type that becomes objects": made + two + number + state + end,
        "objects from raw bytes": made + two + objects + state + end,
        "objects of a bare type": made + two + objects + end,
        "a type with names": made + two + number + named + end,
        "a type with a subtype": made + two + number + divided + end,
        "a buffer of objects": f"{buffer}({sixteen}{objects}{state}{two}S'C'\ntR.",
        "a buffer that is too short": f"{buffer}({sixteen}{number}{plain}(I9\ntS'C'\ntR.",
        "a negative shape": made + "(I-2\nt" + number + plain + end,
        "a shape beyond all bounds": made + f"(I{2**62}\nI4\nt" + number + plain + end,
        "a state twice": made + two + number + plain + state + end,
        "a state of the class": array + "(I1\n" + two + number + end,
        "a scalar of objects": f"cnumpy.core.multiarray\nscalar\n({objects}{state}{sixteen}tR.",
        "text as numbers": made + two + letters + end,
        "a time as numbers": made + two + time + end,
    }
    made_of = {key: text.encode() for key, text in texts.items()}
    made_of["a new object"] = b"\x80\x02" + array.encode() + b"(I2\nt\x81."
    made_of["a state for a list"] = b"](I1\ntb."
    made_of["a memo place beyond all bounds"] = (
        b"\x80\x02]r\xff\xff\xff\xff" + b"j\xff\xff\xff\x7f."
    )
    made_of["bytes beyond the file"] = b"\x80\x04\x8e" + (2**50).to_bytes(8, "little") + b"x."
    made_of["a long number beyond the file"] = (
        b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"."
    )
    made_of["a hash of nested tuples"] = (
        b"\x80\x04" + b")" + b"\x85" * 300_000 + b"K\x01}\x8c\x01a."
    )
    made_of["nested tuples as a key"] = b"\x80\x04})" + b"\x85" * 300_000 + b"K\x01s."
    made_of["nested lists in a set"] = b"\x80\x04\x8f(" + b")" + b"\x85" * 300_000 + b"\x90."
    made_of["a mark in a list"] = b"]((ea."
    made_of["an empty stack"] = b"0."
    return made_of


@pytest.mark.parametrize("name", _hostile_arrays())
def test_a_pickle_of_admitted_names_alone_cannot_reach_memory_that_is_not_its_own(name, tmp_path):
    path = tmp_path / "bad.pkl"
    path.write_bytes(_hostile_arrays()[name])
    try:
        value = load_pickle(path)
    except UserError as error:
        assert re.match(r".*bad\.pkl is (refused|damaged)", str(error))
        assert len(str(error)) < 600
    else:  # harmless: a plain value of lists and tuples
        assert name in ("a hash of nested tuples", "a memo place beyond all bounds")
        assert isinstance(value, str | list)


def test_a_nest_of_lists_is_read_and_let_go_without_a_crash(tmp_path):
    path = tmp_path / "deep.pkl"
    path.write_bytes(b"\x80\x04" + b"](" * 200_000 + b"e" * 200_000 + b".")
    assert isinstance(load_pickle(path), list)
    labels = PickledArrays(kind="pickled-arrays")
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        (tmp_path / f"{name}.pkl").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="holds no images as arrays"):
        read(labels, tmp_path, tmp_path)


@pytest.mark.parametrize("private", ["text", "bytes of a path", "objects of text"])
def test_an_array_source_never_names_a_file(tmp_path, private):
    """A file of strangers that names an image of ours must not have its pixels prepared."""
    image = tmp_path / "private.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(image)
    data = {
        "text": np.array([str(image)]),
        "bytes of a path": np.array([str(image).encode()]),
        "objects of text": np.array([str(image)], dtype=object),
    }[private]
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}_data.npz", data=data, targets=np.zeros(1, np.int64))
    with pytest.raises(UserError, match=r"train_data\.npz"):
        read(NumpyArchives(kind="numpy-archives"), tmp_path, tmp_path)
    with pytest.raises(CorruptImageError, match="not pixels or an encoded image"):
        decode(str(image))  # type: ignore[arg-type]
    with pytest.raises(CorruptImageError, match=r"none of the formats|no image"):
        decode(str(image).encode())


@pytest.mark.parametrize(
    "labels",
    [
        [0.7, 1.9],
        [0, 1.0],
        ["0", "1"],
        [True, False],
        [None, 1],
        [[0], [1]],
        [-1, 0],
        [0, 2**70],
        [0, 10**6],
        np.array([0.0, 1.0]),
        np.array([[0, 1], [1, 0]]),
        np.array(["0", "1"]),
        {"0": 1},
        7,
        "01",
    ],
)
def test_labels_are_whole_numbers_and_never_made_so(labels):
    with pytest.raises(UserError, match=r"The labels in x\.json"):
        class_numbers(labels, "in x.json")


def test_rows_and_columns_of_whole_numbers_are_labels():
    for labels in (
        [1, 0],
        (1, 0),
        np.array([1, 0], np.uint8),
        np.array([[1], [0]]),
        [np.int8(1), 0],
    ):
        assert class_numbers(labels, "in x.json").tolist() == [1, 0]
    assert class_numbers([], "in x.json").tolist() == []


def test_object_arrays_of_an_npz_pass_the_same_door(tmp_path):
    bad, good = tmp_path / "bad.npz", tmp_path / "good.npz"
    harm = _Reduces(os.system, (f"touch {_marker(tmp_path)}",))
    np.savez(bad, data=np.array([harm], dtype=object), targets=np.arange(1))
    with pytest.raises(UserError, match=r"'data', is refused.*system"):
        load_npz(bad, ("data", "targets"))
    assert not _marker(tmp_path).exists()
    ragged = np.empty(2, dtype=object)
    ragged[0], ragged[1] = np.zeros((2, 3), np.uint8), np.ones((3, 1), np.uint8)
    np.savez_compressed(good, data=ragged, targets=np.arange(2))
    arrays_back = load_npz(good, ("data", "targets"))
    np.testing.assert_equal(list(arrays_back["data"]), list(ragged))
    assert arrays_back["targets"].tolist() == [0, 1]
    with pytest.raises(UserError, match="no array 'segs'"):
        load_npz(good, ("segs",))
    good.write_bytes(good.read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged"):
        load_npz(good, ("data",))


def test_a_torch_file_with_anything_but_tensors_is_refused(tmp_path):
    harm = _Reduces(os.system, (f"touch {_marker(tmp_path)}",))
    for split in ("train", "test"):
        torch.save(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), tmp_path / f"{split}_images.pt")
        torch.save(torch.zeros(1, dtype=torch.int64), tmp_path / f"{split}_labels.pt")
    (tmp_path / "class_names.json").write_text('["one"]')
    form = TorchTensors(kind="torch-tensors")
    assert read(form, tmp_path, tmp_path).class_names == ("one",)
    torch.save(harm, tmp_path / "test_images.pt")
    with pytest.raises(UserError, match=r"test_images\.pt is damaged or unsafe"):
        read(form, tmp_path, tmp_path)
    assert not _marker(tmp_path).exists()
    torch.save(OrderedDict(a=torch.zeros(1)), tmp_path / "test_images.pt")
    with pytest.raises(UserError, match="holds no tensor"):
        read(form, tmp_path, tmp_path)


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


@pytest.mark.parametrize(
    "form", ["EPS", "PCX", "TGA", "SGI", "ICO", "IM", "PSD", "JPEG2000", "DDS", "PDF", "MSP"]
)
def test_only_the_formats_that_are_meant_are_decoded(form):
    buffer = io.BytesIO()
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    try:
        (image.convert("1") if form == "MSP" else image).save(buffer, form)
    except (KeyError, OSError):
        buffer.write(b"8BPS\0\1" + bytes(60))  # PIL reads some formats that it doesn't write
    with pytest.raises(
        CorruptImageError, match=r"none of|no image in one of the formats"
    ) as caught:
        decode(buffer.getvalue())
    assert "BytesIO" not in str(caught.value)


def _png_that_says(width: int, height: int) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunk = len(body[4:]).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunk += len(data[4:]).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize("size", [(20_000, 20_000), (1, 200_000_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_made_to_fill_the_memory_is_refused_by_its_size(size):
    with pytest.raises(CorruptImageError, match=r"more than 178,956,970 pixels"):
        decode(_png_that_says(*size))


def test_what_stands_where_an_image_should_be_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "giant.jpg").touch()
    os.truncate(tmp_path / "giant.jpg", 10**12)
    for name, why in {
        "pipe.jpg": "not a regular file",
        "folder.jpg": "not a regular file",
        "giant.jpg": "too many for an image",
    }.items():
        with pytest.raises(CorruptImageError, match=why):
            decode(tmp_path / name)


def _source(**changes) -> dict:
    value = yaml.safe_load((FOLDER / "digits.yaml").read_text(encoding="utf-8"))
    return value | {"name": "x", "sources": [changes]}


OUTSIDE = (
    "../../x",
    "/etc/passwd",
    "a/../../x",
    "~/../x/..",
    "a\\b",
    "C:/x",
    "a\0b",
    ".x",
    "a//b",
    "",
)


@pytest.mark.parametrize("name", [*OUTSIDE, "x" * 300, "a/.fetched.json", "a\nb"])
@pytest.mark.parametrize(
    "place",
    ["file", "files", "archive", "train", "split", "images", "pattern", "names", "revision"],
)
def test_no_name_in_a_description_leaves_its_root(tmp_path, name, place):
    url = {"kind": "url", "url": "http://127.0.0.1/x", "file": "x.zip"}
    hub = {"kind": "hub", "repository": "a/b", "files": ["x.zip"]}
    listed = {"kind": "listed-images", "archive": "x.zip", "train": "a.yaml", "test": "b.yaml"}
    split = {"kind": "split-json", "split": "s.json", "images": "x.zip"}
    parquet = {"kind": "parquet-images", "files": "*.parquet", "train": "a", "test": "b"}
    folder = {"kind": "image-folder", "folder": "mine", "test_share": 0.5}
    source = {
        "file": {"fetch": [url | {"file": name}], "format": listed},
        "files": {"fetch": [hub | {"files": [name]}], "format": listed},
        "revision": {"fetch": [hub | {"revision": name}], "format": listed},
        "archive": {"fetch": [url], "format": listed | {"archive": name}},
        "train": {"fetch": [url], "format": listed | {"train": name}},
        "split": {"fetch": [url], "format": split | {"split": name}},
        "images": {"fetch": [url], "format": split | {"images": name}},
        "pattern": {"fetch": [url], "format": parquet | {"files": name}},
        "names": {"format": folder | {"class_names": name}},
    }[place]
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(_source(**source)))
    with pytest.raises(UserError, match=r"x\.yaml: sources\.0\."):
        load_dataset_spec("x", tmp_path)


@pytest.mark.parametrize("folder", ["../x", "a/../../x", "a\0b", ""])
def test_a_relative_folder_of_images_stays_below_the_data_root(tmp_path, folder):
    value = _source(format={"kind": "image-folder", "folder": folder, "test_share": 0.5})
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(value))
    with pytest.raises(UserError, match=r"x\.yaml: sources\.0\.format\.image-folder\.folder"):
        load_dataset_spec("x", tmp_path)


def test_a_link_that_leads_out_of_the_raw_folder_is_not_read(tmp_path):
    raw, private = tmp_path / "raw", tmp_path / "private.pkl"
    raw.mkdir()
    private.write_bytes(pickle.dumps(np.zeros((2, 4, 4, 3), np.uint8)))
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        (raw / f"{name}.pkl").symlink_to(private)
    with pytest.raises(UserError, match="a link that leads out of"):
        read(PickledArrays(kind="pickled-arrays"), raw, tmp_path)


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
