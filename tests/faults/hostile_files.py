"""Hostile and damaged files: `python -m tests.faults.hostile_files` (600 trials).

Pickles, arrays, tensors, archives, lists, Parquet files, prepared data and servers. Whatever they
hold, nothing of them is executed, nothing is read or written outside of their folder, and what
comes out is what was put in, or a refusal.
"""

import hashlib
import io
import json
import os
import pickle
import pickletools
import random
import shutil
import struct
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

import starprompt.data.download as downloading
from starprompt.data.archives import extract
from starprompt.data.download import download, raw_folder
from starprompt.data.formats.arrays import read as read_arrays
from starprompt.data.formats.listed import read_list
from starprompt.data.formats.parquet import ParquetBlob
from starprompt.data.prepare import prepare
from starprompt.data.registry import DatasetSpec
from starprompt.data.safe_pickle import load_pickle
from starprompt.data.sources import NumpyArchives, PickledArrays, TorchTensors
from starprompt.data.store import open_prepared
from starprompt.data.stream import TaskStream
from tests.faults._campaign import Trial, WrongError, main
from tests.helpers.loopback import serving
from tests.helpers.small_stream import SPEC
from tests.helpers.source_makers import tar_of, zip_of

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
LABELS = [2, 0, 1]
PLAIN = (dict, list, tuple, str, bytes, bytearray, int, float, np.generic)


class _Call:
    """Pickles as a call of whatever it is given."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _damaged(data: bytes, random_: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 6))):
        place, size = random_.randrange(len(out)), random_.choice((1, 2, 8, 40))
        what = random_.randrange(6)
        if what == 0:
            out[place] ^= 1 << random_.randrange(8)
        elif what == 1:
            out[place : place + size] = bytes(len(out[place : place + size]))
        elif what == 2:
            del out[place + 1 :]
        elif what == 3:
            out[place:place] = random_.randbytes(size)
        elif what == 4:
            number = random_.choice((0, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000))
            out[place : place + 4] = struct.pack("<I", number)
        else:
            out[place:place] = out[place : place + size] * 3
    return bytes(out)


def _watched(folder: Path, act: Callable[[], None]) -> None:
    """Nothing may have run or been written outside of ``folder/in`` when ``act`` ends."""
    canary = folder / "canary"
    canary.write_bytes(b"private")
    try:
        act()
    finally:
        here = {path.name for path in folder.iterdir()}
        if here - {"in", "canary"} or canary.read_bytes() != b"private":
            raise WrongError(f"something ran or was written: {sorted(here)}")


def _is_mark(value: Any) -> bool:
    """What a pickle names stays a mark of the reader's own, which nothing takes for a value."""
    return type(value).__module__ == "starprompt.data.safe_pickle"


def _plain(value: Any, depth: int = 0) -> None:
    """What comes out of a pickle: numbers, text and numeric arrays, nothing with code in it."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufO":
            raise WrongError(f"an array of {value.dtype}")
        if value.dtype != object:
            value.sum()
        else:
            for part in value.flat:
                _plain(part, depth + 1)
    elif isinstance(value, dict | list | tuple) and depth < 50:
        for part in value.values() if isinstance(value, dict) else value:
            _plain(part, depth + 1)
    elif value is not None and not isinstance(value, PLAIN) and not _is_mark(value):
        raise WrongError(f"a {type(value)}")


def _programme(random_: random.Random) -> bytes:
    """A random programme of a pickle's opcodes, with admitted names and others."""
    names = [
        *(("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct")),
        *(("numpy._core.numeric", "_frombuffer"), ("numpy.core.multiarray", "scalar")),
        *(("_codecs", "encode"), ("os", "system"), ("builtins", "eval"), ("numpy", "load")),
    ]
    out = [b"\x80\x04"]
    for _ in range(random_.randrange(5, 60)):
        opcode = random_.choice(pickletools.opcodes)
        if random_.random() < 0.3:
            module, name = random_.choice(names)
            out.append(f"c{module}\n{name}\n".encode())
        elif random_.random() < 0.4:
            out.append(
                random_.choice((b"(", b"t", b"R", b"b", b"\x85", b"\x86", b"\x87", b"\x81", b"]"))
            )
        elif opcode.arg is None:
            out.append(opcode.code.encode("latin1"))
        elif random_.random() < 0.5:
            out.append(
                random_.choice((b"K\x02", b"\x8c\x02u1", b"C\x08AAAAAAAA", b"N", b"\x8c\x01|"))
            )
        else:
            out.append(opcode.code.encode("latin1") + random_.randbytes(random_.choice((1, 4, 8))))
    return b"".join(out) + b"."


def _pickle(random_: random.Random) -> Trial:
    calls = [
        _Call(os.system, ("touch FOLDER/ran",)),
        _Call(eval, ("open('FOLDER/ran', 'w')",)),
        _Call(open, ("FOLDER/ran", "w")),
        _Call(exec, ("import pathlib; pathlib.Path('FOLDER/ran').touch()",)),
        _Call(np.load, ("FOLDER/canary",)),
        _Call(shutil.rmtree, ("FOLDER",)),
        _Call(Path, ("/etc/passwd",)),
        _Call(np.fromfile, ("FOLDER/canary", "u1")),
    ]
    kind = random_.choice(("calls", "programme", "damaged", "nested", "states"))
    protocol = random_.randrange(pickle.HIGHEST_PROTOCOL + 1)

    def data(folder: Path) -> bytes:
        if kind == "calls":
            harm: Any = random_.choice(calls)
            wrapped = (harm, [harm], {"a": harm}, np.array([harm], dtype=object), (1, (2, harm)))
            text = pickle.dumps(random_.choice(wrapped), protocol=0)
            return text.replace(b"FOLDER", str(folder).encode())
        if kind == "programme":
            return _programme(random_)
        if kind == "nested":
            count = random_.choice((1000, 100_000, 1_000_000))
            opener, closer = random_.choice(
                ((b"](", b"e"), (b"(", b"t"), (b"}(K\x00", b"u"), (b")", b"\x85"))
            )
            return b"\x80\x04" + opener * count + closer * count + b"."
        good = pickle.dumps(
            [IMAGES, {"labels": LABELS}, np.array([IMAGES[0], IMAGES[1]])], protocol
        )
        if kind == "states":
            for old, new in ((b"u1", b"O8"), (b"u1", b"V8"), (b"u1", b"U1"), (b"b1", b"O1")):
                if random_.random() < 0.4:
                    good = good.replace(old, new)
            return _damaged(good, random_)
        return _damaged(good, random_)

    def act(folder: Path) -> None:
        (folder / "in").mkdir()
        path = folder / "in" / "x.pkl"
        path.write_bytes(data(folder))
        _watched(folder, lambda: _plain(load_pickle(path)))

    return Trial(f"pickle: {kind}", act)


@cache
def _npz() -> bytes:
    rows = np.empty(3, dtype=object)
    rows[:] = list(IMAGES)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, data=rows, targets=np.array(LABELS))
    return buffer.getvalue()


def _arrays(random_: random.Random) -> Trial:
    kind = random_.choice(("damaged", "header", "paths", "labels", "shapes"))

    def act(folder: Path) -> None:
        place = folder / "in"
        place.mkdir()
        for split in ("train", "test"):
            path = place / f"{split}_data.npz"
            images: Any = IMAGES
            labels: Any = np.array(LABELS)
            if kind == "damaged":
                path.write_bytes(_damaged(_npz(), random_))
                continue
            if kind == "paths":
                names = [str(folder / "canary"), b"/etc/passwd", Path("/etc/passwd"), "x"]
                images = np.array(
                    [random_.choice(names) for _ in LABELS], dtype=random_.choice((object, str))
                )
            elif kind == "labels":
                pool = [0.7, -1, 2**40, "1", None, True, [1], float("nan"), 1.0, b"1"]
                labels = np.array([0, random_.choice(pool), 1], dtype=object)
                if random_.random() < 0.4:
                    labels = np.array([0.0, random_.choice((0.7, 1.9, np.nan, 1e30)), 1.0])
            elif kind == "shapes":
                shape = random_.choice(
                    ((3,), (3, 48), (1, 3, 4, 4, 3), (3, 0, 4, 3), (2, 4, 4, 3), (3, 4, 4, 2))
                )
                dtype = random_.choice(("u1", "f8", "i8", "c8", "M8[s]", "S4", "?", "f2", ">f4"))
                images = np.zeros(shape, dtype)
            if kind == "header":
                text = random_.choice(
                    (
                        "{'descr': '|u1', 'fortran_order': False, 'shape': (2**62, 4)}",
                        "{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904,)}",
                        "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
                        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (2,)}",
                        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
                        "{'descr': '|V8', 'fortran_order': 7, 'shape': (2,)}",
                        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'x': "
                        + "[" * 900
                        + "}",
                        "__import__('os').system('touch ran')",
                        "{" * 3000,
                    )
                )
                header = text.encode() + b"\n"
                member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("data.npy", member)
                    archive.writestr("targets.npy", member)
                continue
            np.savez(path, data=images, targets=labels)

        def read() -> None:
            listing = read_arrays(NumpyArchives(kind="numpy-archives"), place, place)
            for split in (listing.train, listing.test):
                items = [split.images.take(i, i + 1)[0] for i in range(len(split.images))]
                if any(isinstance(item, str | Path) for item in items):
                    raise WrongError("an image is a path")
                if kind == "labels":
                    raise WrongError(f"the labels {labels!r} became {split.labels}")
                if kind == "damaged" and split.labels.tolist() != LABELS:
                    raise WrongError(f"labels {split.labels}")

        _watched(folder, read)

    return Trial(f"arrays: {kind}", act)


def _tensors(random_: random.Random) -> Trial:
    kind = random_.choice(("damaged", "objects", "odd tensors"))

    def act(folder: Path) -> None:
        place = folder / "in"
        place.mkdir()
        images, labels = (
            torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(LABELS),
        )
        for split in ("train", "test"):
            torch.save(images, place / f"{split}_images.pt")
            torch.save(labels, place / f"{split}_labels.pt")
        (place / "class_names.json").write_text('["a", "b", "c"]')
        path = place / random_.choice(("train_images.pt", "test_labels.pt"))
        if kind == "damaged":
            path.write_bytes(_damaged(path.read_bytes(), random_))
        elif kind == "objects":
            harm = _Call(os.system, (f"touch {folder}/ran",))
            torch.save(random_.choice((harm, [harm], {"a": 1}, [images], "x", None)), path)
        else:
            odd = (
                torch.zeros(3, 3, 4, 4).to_sparse(),
                torch.zeros(3, 3, 4, 4, dtype=torch.bfloat16),
                torch.zeros(3, 3, 4, 4, device="meta"),
                torch.quantize_per_tensor(torch.zeros(3, 3, 4, 4), 0.1, 0, torch.quint8),
                torch.zeros(1).expand(3, 3, 4, 4),
                torch.zeros(3, 3, 4, 4, dtype=torch.complex64),
                torch.zeros(0),
                torch.tensor(3.5),
            )
            torch.save(random_.choice(odd), path)

        def read() -> None:
            listing = read_arrays(TorchTensors(kind="torch-tensors"), place, place)
            found = [split.labels.tolist() for split in (listing.train, listing.test)]
            # A flipped bit of a label has no checksum here: the hub's is checked at download.
            if kind != "damaged" and found != [LABELS, LABELS]:
                raise WrongError(f"labels {found}")

        _watched(folder, read)

    return Trial(f"tensors: {kind}", act)


def _archive(random_: random.Random) -> Trial:
    kind = random_.choice(("names", "damaged", "members", "numbers"))
    members = {"a/b.txt": b"one" * 50, "c.txt": b"two", "d/e/f.bin": random_.randbytes(300)}
    form = random_.choice(("zip", "w", "w:gz", "w:bz2", "w:xz"))

    def pack(members: dict[str, bytes]) -> bytes:
        return zip_of(members) if form == "zip" else tar_of(members, form)

    odd = (
        *("../canary", "/tmp/starprompt-faults-out", "a/../../canary", "..\\canary", "C:/x", "~/x"),
        *("a", "a/b.txt", "a/b.txt/c", ".", "", "/", "x" * 300, "c.txt ", "a//b.txt", "./c.txt"),
        *("é", "\udcff", "a\nb", "a\0b", "nul", "..", "a/..", "./../x", "//x", "..../x"),
    )

    def data() -> bytes:
        if kind == "names":
            members.update({random_.choice(odd): b"new", random_.choice(odd): b"newer"})
            return pack(members)
        if kind == "members" and form != "zip":
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=random_.choice((0, 1, 2))) as tar:
                info = tarfile.TarInfo(random_.choice(("x", "a/x", "c.txt")))
                info.type = random_.choice(
                    (b"1", b"2", b"3", b"4", b"6", b"7", b"S", b"L", b"x", b"g", b"V")
                )
                info.linkname = random_.choice(("../canary", "/etc/passwd", "x", "a", ""))
                info.size = random_.choice((0, 10, 2**33))
                buffer.write(info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
                buffer.write(random_.randbytes(512))
                good = tarfile.TarInfo("x/y")
                tar.addfile(good, io.BytesIO())
            return buffer.getvalue()
        whole = pack(members)
        if kind == "numbers":
            out = bytearray(whole)
            for _ in range(3):
                place = random_.randrange(len(out) - 4)
                out[place : place + 4] = struct.pack("<I", random_.choice((0, 1, 2**31, 2**32 - 1)))
            return bytes(out)
        return _damaged(whole, random_)

    def act(folder: Path) -> None:
        (folder / "in").mkdir()
        archive = folder / "in" / "x"
        try:
            archive.write_bytes(data())
        except (UnicodeEncodeError, ValueError, IndexError):
            return  # the packer refuses such a name by itself

        def unpack() -> None:
            out = extract(archive, folder / "in" / "out")
            for path in out.rglob("*"):
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    raise WrongError(f"{path} is a link or a device")
            good = {name: members[name] for name in ("a/b.txt", "c.txt", "d/e/f.bin")}
            known = all((out / name).is_file() for name in good)
            changed = known and any((out / n).read_bytes() != d for n, d in good.items())
            if changed and (form == "zip" or kind == "names"):
                raise WrongError("a member has other bytes")

        _watched(folder, unpack)

    return Trial(f"archive: {kind}", act)


def _list(random_: random.Random) -> Trial:
    kind = random_.choice(("labels", "text", "damaged"))
    pool: list[Any] = [
        *(0.7, 1.9, -1, 2**40, 10**30, "1", "", None, True, [1], {"a": 1}, 1.0, float("nan")),
        *(float("inf"), [[[]]], "../../x", -0.0),
    ]
    form = random_.choice(("json", "yaml"))
    good: dict[str, Any] = {"data": ["a/1.png", "a/2.png", "b/3.png"], "targets": [0, 1, 2]}

    def act(folder: Path) -> None:
        value = json.loads(json.dumps(good))
        if kind == "labels":
            value["targets"][random_.randrange(3)] = random_.choice(pool)
        elif kind == "text":
            odd = (None, 5, [], {}, "text", [None] * 3, [[1]] * 3, {"0": 1, "1": 2, "2": 3}, [1, 2])
            value[random_.choice(("data", "targets"))] = random_.choice(odd)
        text = (json.dumps(value) if form == "json" else yaml.safe_dump(value)).encode()
        if kind == "damaged":
            text = random_.choice(
                (
                    _damaged(text, random_),
                    b"[" * 100_000,
                    b'{"data": [], "data": ["x"], "targets": [], "targets": [0]}',
                    b"data: [a]\ndata: [b]\ntargets: [0]\n",
                    b"\xff\xfe" + text,
                    b'{"a":' * 50_000,
                )
            )
        path = folder / f"list.{form}"
        path.write_bytes(text)
        paths, labels = read_list(path)
        plain = (yaml.safe_load if form == "yaml" else json.loads)(text)
        if paths != plain["data"] or labels.tolist() != plain.get("targets", plain.get("labels")):
            raise WrongError(f"{text[:100]!r} became {paths} {labels}")
        if any(type(label) is not int for label in plain.get("targets", plain.get("labels"))):
            raise WrongError(f"{plain} has labels that are no whole numbers")

    return Trial(f"list: {kind}", act)


def _parquet(random_: random.Random) -> Trial:
    kind = random_.choice(("damaged", "columns", "values"))

    def act(folder: Path) -> None:
        names, images = ["1.png", "2.png", "3.png"], [b"one", b"two", b"three"]
        columns: dict[str, Any] = {"filename": names, "image_bytes": images}
        if kind == "columns":
            columns = random_.choice(
                (
                    {"filename": names},
                    {"filename": [1, 2, 3], "image_bytes": images},
                    {"filename": names, "image_bytes": names},
                    {"filename": names, "image_bytes": [[1], [2], [3]]},
                    {},
                )
            )
        elif kind == "values":
            columns = {
                "filename": [
                    "1.png",
                    random_.choice((None, "1.png", "../1.png", "a/1.png", "")),
                    "3.png",
                ],
                "image_bytes": [b"one", random_.choice((None, b"", b"two")), b"three"],
            }
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer, row_group_size=2)
        data = buffer.getvalue()
        (folder / "x.parquet").write_bytes(_damaged(data, random_) if kind == "damaged" else data)
        blob = ParquetBlob.gather(folder, "*.parquet", "image_bytes", "filename", folder)
        if kind == "damaged" and set(blob.places) == set(names):
            found = blob.select(names, folder).take(0, 3)
            if sorted(map(len, found)) != sorted(map(len, images)):
                raise WrongError(f"images {found}")

    return Trial(f"parquet: {kind}", act)


@cache
def _digits() -> Path:
    return prepare(SPEC, Path(tempfile.mkdtemp(prefix="faults-digits-")), workers=1)


@cache
def _accuracy_of_pixels() -> tuple[int, int]:
    return _sums(_digits())


def _sums(folder: Path) -> tuple[int, int]:
    data = open_prepared(folder)
    stream = TaskStream(data, SPEC, 1993)
    total = labels = 0
    for task in stream:
        for batch in task.train.batches(256):
            assert batch.images is not None
            total += int((batch.images * 255).round().long().sum())
            labels += int((batch.labels * (1 + batch.ids)).sum())
    return total, labels


def _prepared(random_: random.Random) -> Trial:
    kind = random_.choice(("damaged", "zeroed", "cut", "swapped", "folder", "gone"))

    def act(folder: Path) -> None:
        expected = _accuracy_of_pixels()
        place = Path(shutil.copytree(_digits(), folder / "digits"))
        path = random_.choice(sorted(place.iterdir()))
        data = path.read_bytes()
        if kind == "damaged":
            path.write_bytes(_damaged(data, random_))
        elif kind == "zeroed":
            first = random_.randrange(len(data))
            path.write_bytes(
                data[:first] + bytes(len(data[first : first + 500])) + data[first + 500 :]
            )
        elif kind == "cut":
            path.write_bytes(data[: random_.randrange(len(data))])
        elif kind == "swapped":
            path.write_bytes(random_.choice(sorted(place.iterdir())).read_bytes())
        elif kind == "folder":
            path.unlink()
            path.mkdir()
        else:
            path.unlink()
        if _sums(place) != expected:
            raise WrongError(f"{path.name}: other pixels or labels")

    return Trial(f"prepared data: {kind}", act)


def _server(random_: random.Random) -> Trial:
    kind = random_.choice(("faults", "hub names", "answers"))
    data = random_.randbytes(3000)

    def act(folder: Path) -> None:
        downloading.STALL_SECONDS, downloading.RETRIES = 0.5, 1
        downloading.time.sleep = lambda seconds: None  # type: ignore[attr-defined]
        (folder / "in").mkdir()
        with serving() as site:
            os.environ["HF_ENDPOINT"] = site.url
            site.stall_seconds = 0.6
            site.files["/one.bin"] = data
            site.repository("a/b", {"one.bin": data})
            known = hashlib.sha256(data).hexdigest()
            fetch: dict[str, Any] = {"kind": "hub", "repository": "a/b", "files": ["*"]}
            path = "/one.bin"
            if random_.random() < 0.5 and kind != "hub names":
                fetch = {
                    "kind": "url",
                    "url": f"{site.url}/one.bin",
                    "file": "one.bin",
                    "sha256": known,
                }
            else:
                path = "/datasets/a/b/resolve/0123456789abcdef0123456789abcdef01234567/one.bin"
            if kind == "faults":
                pool = [
                    "half",
                    "garbled",
                    404,
                    500,
                    503,
                    "to:/one.bin",
                    "to:file:///etc/passwd",
                    "to:/x",
                ]
                site.faults[path] = [random_.choice(pool) for _ in range(random_.randrange(1, 8))]
            elif kind == "hub names":
                names = (
                    "../canary",
                    "/tmp/x.bin",
                    ".fetched.json",
                    "a\\..\\b",
                    "a//b",
                    "x" * 400,
                    "a\nb",
                )
                site.repository("a/b", {random_.choice(names): data, "one.bin": data})
            else:
                site.files[path] = random_.choice(
                    (b"", b"<html>", data[:-1], data + b"x", bytes(len(data)))
                )
            source = {"fetch": [fetch], "format": {"kind": "pickled-arrays"}}
            spec = DatasetSpec.model_validate(
                {"name": "thing", "title": "T", "tasks": 1, "sources": [source]}
            )

            def fetch_it() -> None:
                download(spec, folder / "in")
                if (raw_folder(folder / "in", "thing") / "one.bin").read_bytes() != data:
                    raise WrongError("other bytes than those published")

            _watched(folder, fetch_it)

    return Trial(f"server: {kind}", act)


def _pickled_source(random_: random.Random) -> Trial:
    """A whole source of pickles, labels included, as the hub's files are."""

    def act(folder: Path) -> None:
        for split in ("train", "test"):
            (folder / f"{split}_images.pkl").write_bytes(pickle.dumps(IMAGES / 255))
            (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(LABELS))
        pool = [
            [0.7, 1.9, 0],
            [0, 1, -2],
            ["0", "1", "2"],
            [0, 1, 10**9],
            None,
            {},
            [[0], [1], [2]],
        ]
        odd = random_.choice(pool)
        (folder / "train_labels.pkl").write_bytes(pickle.dumps(odd, random_.randrange(6)))
        listing = read_arrays(PickledArrays(kind="pickled-arrays"), folder, folder)
        raise WrongError(f"the labels {odd!r} became {listing.train.labels}")

    return Trial("pickle: labels", act)


MAKERS = (
    *(_pickle, _arrays, _archive, _list, _parquet, _prepared),
    *(_pickle, _tensors, _pickled_source, _server),
)


def make(seed: int, number: int) -> Trial:
    """The trial of that number; kinds take turns."""
    random_ = random.Random(f"{seed} file {number}")
    makers = (
        _pickle,
        _arrays,
        _archive,
        _list,
        _parquet,
        _prepared,
        _pickle,
        _tensors,
        _pickled_source,
        _server,
    )
    return makers[number % len(makers)](random_)


if __name__ == "__main__":
    sys.exit(main("hostile files", make, 600, __doc__ or ""))
