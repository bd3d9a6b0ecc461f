"""Pickles and object arrays of strangers: arrays come out whole, code never runs."""

import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from starprompt.data.formats.arrays import read
from starprompt.data.safe_pickle import load_npz, load_pickle
from starprompt.data.sources import PickledArrays
from starprompt.errors import UserError
from tests.helpers.hostile_pickles import Reduces, marker


def _malicious(tmp_path: Path) -> dict[str, bytes]:
    command = f"touch {marker(tmp_path)}"
    text = f"__import__('os').system({command!r})"
    system = os.system.__module__
    calls = {
        "os.system": Reduces(os.system, (command,)),
        "eval": Reduces(eval, (text,)),
        "exec": Reduces(exec, (text,)),
        "import": Reduces(__import__, ("antigravity",)),
        "getattr": Reduces(getattr, ([], "append")),
        "subprocess": Reduces(__import__("subprocess").call, (["sh", "-c", command],)),
        "open": Reduces(open, (str(marker(tmp_path)), "w")),
        "torch object": torch.nn.Linear(1, 1),
        "a class of ours": Reduces(Path, ("/",)),
        "a plain subclass": Counter("ab"),
        "numpy code": Reduces(np.load, (str(tmp_path / "x.npy"),)),
        "inside an array": np.array([Reduces(os.system, (command,))], dtype=object),
        "inside containers": {"a": [(1, Reduces(eval, (text,)))]},
        "codecs": Reduces(__import__("codecs").decode, (b"x", "base64")),
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
    assert not marker(tmp_path).exists()


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


def test_object_arrays_of_an_npz_pass_the_same_door(tmp_path):
    bad, good = tmp_path / "bad.npz", tmp_path / "good.npz"
    harm = Reduces(os.system, (f"touch {marker(tmp_path)}",))
    np.savez(bad, data=np.array([harm], dtype=object), targets=np.arange(1))
    with pytest.raises(UserError, match=r"'data', is refused.*system"):
        load_npz(bad, ("data", "targets"))
    assert not marker(tmp_path).exists()
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
