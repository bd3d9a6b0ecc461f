"""Files of strangers: malicious pickles, .npz, tensors and archives are refused, good ones read."""

import io
import os
import pickle
import stat
import tarfile
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from source_makers import tar_of, zip_of

from starprompt.data.archives import extract
from starprompt.data.formats.arrays import read
from starprompt.data.safe_pickle import load_npz, load_pickle
from starprompt.data.sources import TorchTensors
from starprompt.errors import UserError


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
        "plain": (None, True, "text", b"bytes", {1, 2}, frozenset({3}), 1.5, 2**80),
        "strings": np.array(["a", "bc"]),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    path = tmp_path / "good.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    back = load_pickle(path)
    np.testing.assert_equal(list(back.pop("objects")), list(value.pop("objects")))
    np.testing.assert_equal(back, value)
    assert back["images"].dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_side=4)))
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
