"""Pickles of strangers, read without an unpickler: numeric arrays and plain containers come out.

A pickle is a programme for a small stack machine. Python's unpickler runs it with real classes,
and a class that is harmless by itself may still be handed a state that it takes for addresses of
memory. So the opcodes that arrays, lists and dicts need are carried out here, on plain values; no
class of the pickle is ever looked up, called or given a state. Arrays are made by this module, from
a numeric type, a shape and just as many bytes.
"""

import math
import pickletools
import zipfile
from collections.abc import Callable
from io import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from starprompt.errors import UserError, reason
from starprompt.files import reading

#: Values that a pickle may make: a list of 100,000 images makes some 2 million.
MOST_VALUES = 50_000_000
#: How many times its compressed bytes an array may have: zeros shrink more, images do not.
MOST_GROWTH, ALWAYS_ADMITTED = 200, 2**30


class UnsafePickleError(Exception):
    """A pickle that asks for something that is neither an array nor a plain container."""


class _Array:
    """An array whose state has not come yet; ``places`` are where the memo holds it."""

    def __init__(self) -> None:
        self.places: list[int] = []


class _Type(_Array):
    """A type of numbers whose byte order has not come yet."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code


class _Name:
    """A name that the pickle may use, and what a call of it does here."""

    def __init__(self, call: Callable[..., Any] | None = None) -> None:
        self.call = call


_MARK = object()
_NDARRAY, _DTYPE = _Name(), _Name()
_OBJECTS = np.dtype(object)


def _latin1(text: Any, encoding: Any) -> bytes:
    """What old protocols call to write bytes: ``_codecs.encode(text, "latin1")`` alone."""
    if encoding != "latin1" or not isinstance(text, str):
        raise UnsafePickleError("it uses an encoding other than latin1")
    return text.encode("latin1")


def _new_type(code: Any, align: Any = False, copy: Any = True) -> _Type:
    if not isinstance(code, str) or len(code) > 3:
        raise UnsafePickleError("it has a dtype that is not a plain number")
    return _Type(code)


def _new_array(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _NDARRAY:
        raise UnsafePickleError("it builds an object that is not an array")
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    return _numbers(data, dtype, shape, order == "F")


def _scalar(dtype: Any, data: Any) -> Any:
    return _numbers(data, dtype, (1,), False)[0]


_DTYPE.call = _new_type
#: the only names that a pickle may use
_ADMITTED: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _Name(_latin1),
    # how protocols before 3 write no bytes at all
    ("__builtin__", "bytes"): _Name(lambda: b""),
    ("builtins", "bytes"): _Name(lambda: b""),
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Name(_new_array)
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _Name(_scalar)
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _Name(_from_buffer)


def _plain_type(code: str, order: str) -> np.dtype[Any]:
    """The type of a code such as ``f4`` in a byte order; objects, which are made one by one."""
    if code in ("O", "O8"):
        return _OBJECTS
    if code not in {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} | {"b1"}:
        raise UnsafePickleError("it has a dtype that is not a plain number")
    if order == "|" and code[1] != "1":
        raise UnsafePickleError("it has multi-byte numbers without a byte order")
    return np.dtype(order + code)


def _typed(state: Any, code: str) -> np.dtype[Any]:
    """The type that a dtype's state describes: of it, only the byte order is for us."""
    if not isinstance(state, tuple) or len(state) not in (8, 9) or state[1] not in ("<", ">", "|"):
        raise UnsafePickleError("it has a dtype that is not a plain number")
    if any(part is not None for part in (*state[2:5], *state[8:])):
        raise UnsafePickleError("it has a structured dtype")
    return _plain_type(code, state[1])


def _shape(shape: Any) -> tuple[int, ...]:
    whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or len(shape) > 8:
        raise UnsafePickleError("it has an array whose shape is not a tuple of sizes")
    return tuple(shape)


def _numbers(data: Any, dtype: Any, shape: Any, fortran: bool) -> NDArray[Any]:
    """A numeric array of just these bytes."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise UnsafePickleError("it makes a number whose dtype is not numeric")
    sizes = _shape(shape)
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise UnsafePickleError("it has an array without bytes")
    if math.prod(sizes) * dtype.itemsize != len(data):
        raise UnsafePickleError(f"an array of shape {sizes} has {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(sizes, order="F" if fortran else "C")


def _objects(values: Any, shape: Any) -> NDArray[Any]:
    """An array of arrays, texts or numbers, put in one by one."""
    sizes = _shape(shape)
    if not isinstance(values, list) or len(values) != math.prod(sizes) or len(sizes) != 1:
        raise UnsafePickleError("it has an array of objects that is not one-dimensional")
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


class _Machine:
    """Carries out a pickle's opcodes on plain values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: "_Bounded") -> Any:
        """The value of the pickle in ``file``."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(BinaryIO, file))):
            if count > MOST_VALUES:
                raise UnsafePickleError(f"it has more than {MOST_VALUES:,} values")
            if opcode.name == "STOP":
                return self.pop()
            if opcode.name in _CONSTANTS:
                self.stack.append(argument)
            elif opcode.name in _READY:
                self.stack.append(_READY[opcode.name])
            elif opcode.name in _FRESH:
                self.stack.append(_FRESH[opcode.name]())
            elif opcode.name not in ("PROTO", "FRAME"):
                step = getattr(self, f"_{opcode.name.lower()}", None)
                if step is None:
                    raise UnsafePickleError(f"it has the opcode {opcode.name}")
                step(argument)
        raise UnsafePickleError("it has no end")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise UnsafePickleError("its opcodes misuse the stack")
        return value

    def top(self, kind: type) -> Any:
        """The topmost value, which must be such a container."""
        if not isinstance(self.stack[-1], kind):
            raise UnsafePickleError(f"it fills an object that is not a {kind.__name__}")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        """The values above the last mark, which goes too."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self.since_mark()

    def _list(self, _: Any) -> None:
        self.stack.append(self.since_mark())

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.since_mark()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append((self.pop(),))

    def _tuple2(self, _: Any) -> None:
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def _tuple3(self, _: Any) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def _append(self, _: Any) -> None:
        value = self.pop()
        self.top(list).append(value)

    def _appends(self, _: Any) -> None:
        values = self.since_mark()
        self.top(list).extend(values)

    def _dict(self, _: Any) -> None:
        self.stack.append(_mapping(self.since_mark()))

    def _setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.top(dict).update(_mapping([key, value]))

    def _setitems(self, _: Any) -> None:
        values = self.since_mark()
        self.top(dict).update(_mapping(values))

    def _put(self, place: int) -> None:
        value = self.stack[-1]
        if value is _MARK:
            raise UnsafePickleError("its opcodes misuse the stack")
        self.memo[place] = value
        if isinstance(value, _Array):
            value.places.append(place)

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._put(len(self.memo))

    def _get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    _binget = _long_binget = _get

    def _global(self, name: str) -> None:
        module, _, attribute = name.partition(" ")
        self._name(module, attribute)

    def _stack_global(self, _: Any) -> None:
        attribute, module = self.pop(), self.pop()
        self._name(module, attribute)

    def _name(self, module: Any, attribute: Any) -> None:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise UnsafePickleError("it looks up a name that is not text")
        known = _ADMITTED.get((module, attribute))
        if known is None:
            raise UnsafePickleError(f"it looks up {f'{module}.{attribute}'[:100]}")
        self.stack.append(known)

    def _reduce(self, _: Any) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, _Name) or name.call is None or not isinstance(arguments, tuple):
            raise UnsafePickleError("it calls an object that may not be called")
        try:
            self.stack.append(name.call(*arguments))
        except TypeError as error:
            raise UnsafePickleError(
                "it calls an array function with unexpected arguments"
            ) from error

    def _build(self, _: Any) -> None:
        """Give an array or a type its state, and put what it becomes in all its places."""
        state, value = self.pop(), self.pop()
        made: Any
        if type(value) is _Type:
            made = _typed(state, value.code)
        elif type(value) is _Array and isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, fortran, data = state
            is_row = dtype is _OBJECTS
            made = (
                _objects(data, shape) if is_row else _numbers(data, dtype, shape, fortran is True)
            )
        else:
            raise UnsafePickleError("it sets the state of an object that has none")
        for place in value.places:
            self.memo[place] = made
        self.stack.append(made)


_CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_READY: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_FRESH: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict}


def _mapping(values: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn as a dict; keys are texts, bytes or numbers."""
    keys = values[::2]
    if len(values) % 2 or not all(type(key) in (str, bytes, int) for key in keys):
        raise UnsafePickleError("it has a mapping whose keys are not text")
    return dict(zip(keys, values[1::2], strict=True))


class _Bounded:
    """A file that never reads more than it holds, so that a false length takes no memory."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._left:
            raise UnsafePickleError("it ends too early")
        data = self._file.read(count)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        data = self._file.readline(self._left)
        self._left -= len(data)
        return data


def _load(file: BinaryIO, size: int, what: str) -> Any:
    try:
        return _Machine().run(_Bounded(file, size))
    except UnsafePickleError as error:
        raise UserError(
            f"{what} is refused, because it is not a plain pickle of arrays: {error}; get the "
            "file again from its publisher."
        ) from error
    except Exception as error:  # a damaged pickle can end in any exception
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system failed to read it
        what_failed = reason(error)
        raise UserError(
            f"{what} is damaged ({type(error).__name__}: {what_failed}); remove it and download "
            "it again."
        ) from error


def load_pickle(path: Path) -> Any:
    """Numeric arrays and plain containers of a pickle file.

    Raises :class:`UserError` when it is missing, damaged or asks for anything else.
    """
    with reading(path), Path(path).open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(0)
        return _load(file, size, str(path))


def load_npz(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Some arrays of an ``.npz``: numeric ones, and rows of such arrays.

    Raises :class:`UserError` when it is damaged, lacks a key, or holds anything but arrays.
    """
    arrays = {}
    try:
        with reading(path), zipfile.ZipFile(path) as archive:
            for key in keys:
                if f"{key}.npy" not in archive.namelist():
                    raise UserError(f"{path} has no array {key!r}; download it again.")
                info = archive.getinfo(f"{key}.npy")
                if info.file_size > max(ALWAYS_ADMITTED, MOST_GROWTH * info.compress_size):
                    raise UserError(
                        f"{path} is refused: its array {key!r} unpacks to {info.file_size:,} "
                        "bytes; get the file again from its publisher."
                    )
                with archive.open(info) as member:
                    arrays[key] = _read_npy(member, info.file_size, f"{path}, array {key!r},")
    except UserError:
        raise
    except Exception as error:  # a damaged archive or header can end in any exception
        what = reason(error)
        raise UserError(f"{path} is damaged ({what}); remove it and download it again.") from error
    return arrays


def _read_npy(file: Any, size: int, what: str) -> NDArray[Any]:
    version = npy_format.read_magic(file)
    read_header = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"its format version {version} is not known")
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        array = _load(file, size, what)
        if not isinstance(array, np.ndarray):
            raise ValueError("it holds no array")
        return array
    if dtype.kind not in "biuf" or dtype.names is not None or dtype.subdtype is not None:
        raise ValueError(f"it holds {dtype.kind!r} values, not numbers")
    count = math.prod(shape)
    if not 0 <= count * dtype.itemsize <= size or any(side < 0 for side in shape):
        raise ValueError(f"its shape {shape} does not match its {size} bytes")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise ValueError("it ends too early")
    flat = np.frombuffer(data, dtype=dtype, count=count)
    return flat.reshape(shape, order="F" if fortran else "C")
