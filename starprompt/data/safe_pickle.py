"""Pickles of strangers: NumPy arrays and plain containers come out, nothing else is ever called.

A pickle is a programme. Python's documentation shows the remedy: an unpickler that looks up only
names it knows. Lists, dicts, tuples, sets, numbers, strings and bytes need no name at all.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from starprompt.errors import UserError


class UnsafePickleError(Exception):
    """A pickle that asks for something that is neither an array nor a plain container."""


def _latin1(text: str, encoding: str) -> bytes:
    """What old protocols call to write bytes: ``_codecs.encode(text, "latin1")`` alone."""
    if encoding != "latin1" or not isinstance(text, str):
        raise UnsafePickleError(f"it encodes by {encoding!r}")
    return text.encode("latin1")


def _numpy_names() -> dict[tuple[str, str], Any]:
    from numpy._core import multiarray, numeric

    names: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin1,
    }
    for builtins in ("builtins", "__builtin__"):  # how protocols before 4 write sets
        names |= {(builtins, "set"): set, (builtins, "frozenset"): frozenset}
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = multiarray._reconstruct  # type: ignore[attr-defined]
        names[f"{core}.multiarray", "scalar"] = multiarray.scalar  # type: ignore[attr-defined]
        names[f"{core}.numeric", "_frombuffer"] = numeric._frombuffer  # type: ignore[attr-defined]
    return names


_ADMITTED = _numpy_names()


class SafeUnpickler(pickle.Unpickler):
    """An unpickler that admits NumPy arrays, scalars and dtypes, and plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        """The admitted object of that name; raises :class:`UnsafePickleError` for any other."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise UnsafePickleError(f"it asks for {module}.{name}") from None


def _load(file: BinaryIO, what: str) -> Any:
    try:
        return SafeUnpickler(file, encoding="latin1").load()
    except UnsafePickleError as error:
        raise UserError(
            f"{what} is refused: a pickle of arrays has no need of this, but {error}; get the file "
            "again from its publisher."
        ) from error
    except Exception as error:  # a damaged pickle can end in any exception
        raise UserError(
            f"{what} is damaged ({type(error).__name__}: {error}); remove it and fetch it again."
        ) from error


def load_pickle(path: Path) -> Any:
    """Arrays and plain containers of a pickle file.

    Raises :class:`UserError` when it is damaged or asks for anything else.
    """
    with Path(path).open("rb") as file:
        return _load(file, str(path))


def load_npz(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Some arrays of an ``.npz``; object arrays pass through the same unpickler.

    Raises :class:`UserError` when it is damaged, lacks a key, or holds anything but arrays.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for key in keys:
                if f"{key}.npy" not in archive.namelist():
                    raise UserError(f"{path} has no array {key!r}; fetch it again.")
                with archive.open(f"{key}.npy") as member:
                    arrays[key] = _read_npy(member, f"{path}, array {key!r},")
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and fetch it again.") from error
    return arrays


def _read_npy(file: Any, what: str) -> NDArray[Any]:
    version = npy_format.read_magic(file)
    read_header = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"its format version {version} is not known")
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        array = _load(file, what)
        if not isinstance(array, np.ndarray):
            raise ValueError("it holds no array")
        return array
    count = int(np.prod(shape, dtype=np.int64))
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise ValueError("it ends too early")
    flat = np.frombuffer(data, dtype=dtype, count=count)
    return flat.reshape(shape, order="F" if fortran else "C")
