"""How the processor's kernels round: at full speed, or alike on every x86-64 processor.

    native    every library takes the fastest kernels that the processor has
    portable  every library takes the kernels of AVX2 and one thread, MKL those of its compatible
              branch: equal bytes on all processors with AVX2 and FMA (Haswell, Zen and later)

Kernels differ in the order in which they add, and so in their last digits. Libraries choose theirs
when they are loaded, from environment variables: :func:`settle` sets these before, and starts the
process anew where one is loaded already. The C library chooses when the process starts, by
``GLIBC_TUNABLES``. Nothing here imports torch before it is asked to.

One function is out of the variables' reach. torch computes square roots by MKL's vector library,
which begins with the processor's own approximation of 1/sqrt(x), and no two makers' are alike:
:func:`require` puts IEEE's square root in its place, which every processor rounds in one way.
"""

import logging
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any, Literal

from starprompt.errors import UserError
from starprompt.machine import kernels

logger = logging.getLogger(__name__)

Numerics = Literal["native", "portable"]

#: What portable numerics set. MKL's own AVX2 branch rounds in one way on Intel's processors and in
#: another on AMD's, so that only its compatible branch, of SSE2, is the same on both.
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    "OPENBLAS_CORETYPE": "Haswell",
    # by the names of NumPy 2.4 and those before
    "NPY_DISABLE_CPU_FEATURES": (
        "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
    ),
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")},
}
#: What would work against it: NumPy refuses to both enable and disable.
UNSET = ("NPY_ENABLE_CPU_FEATURES", "MKL_ENABLE_INSTRUCTIONS", "DNNL_MAX_CPU_ISA")
#: Libraries that read the variables when they are loaded.
READERS = ("numpy", "torch", "scipy", "sklearn")
_RESTARTED = "STARPROMPT_RESTARTED"
#: What the C library reads when a process starts. Settings of its part ``hwcaps`` take away
#: instructions from ``exp``, ``log`` and others, which then round otherwise; the rest may stay.
_TUNABLES, _HWCAPS = "GLIBC_TUNABLES", ".hwcaps"
#: MKL's number of the branch that ``MKL_CBWR=COMPATIBLE`` names
_COMPATIBLE = 3
_NO_AVX2 = (
    "needs AVX2 and FMA (Intel since Haswell, 2013; AMD since Zen, 2017), which this processor "
    "lacks"
)


def settle(
    numerics: Numerics, environ: MutableMapping[str, str] | None = None, restart: Any = None
) -> None:
    """Let this process compute with ``numerics``; to be called before it computes anything.

    environ  the process's own environment by default
    restart  starts this very command anew in the environment as it then is; by default ``exec``

    Raises :class:`UserError` where the processor lacks what portable numerics need.
    """
    environ = os.environ if environ is None else environ
    if numerics != "portable":
        return
    require_processor(numerics)
    if not _is_set(environ):
        late = any(name in sys.modules for name in READERS) or _sets_hwcaps(environ)
        environ.update(PORTABLE)
        for name in UNSET:
            environ.pop(name, None)
        _keep_hwcaps(environ)
        if late:
            if environ.get(_RESTARTED):
                raise UserError(
                    "numerics: portable could not be set, because the environment changes "
                    f"after this process has started; set {_as_shell()} yourself."
                )
            environ[_RESTARTED] = "1"
            (restart or _restart)()
    environ.pop(_RESTARTED, None)
    import numpy  # noqa: F401 - it asks the processor itself, also where the system does not

    require_processor(numerics)


def settle_to_read(numerics: Numerics) -> None:
    """:func:`settle` for commands that only read what runs left, which no processor refuses.

    Where it has no portable numerics, a warning says so, and its own take their place.
    """
    if numerics == "portable" and (why := why_impossible()) is not None:
        logger.warning(
            "numerics: portable %s; what is computed from the runs here may differ in its last "
            "digits",
            why,
        )
        return
    settle(numerics)


def require(numerics: Numerics) -> None:
    """Check that the libraries, loaded by now, compute with ``numerics``; exchange torch's sqrt.

    Raises :class:`UserError` with what to do: a caller that is no command has to set the
    environment by itself.
    """
    if numerics != "portable":
        return
    import numpy  # noqa: F401 - as in settle

    require_processor(numerics)
    if (why := why_not_portable()) is not None:
        raise UserError(
            "numerics: portable must be set before any library is loaded, as the commands of "
            f"starprompt do (here {why}); start Python with {_as_shell()}."
        )
    _round_square_roots()


def require_processor(numerics: Numerics) -> None:
    """Raises :class:`UserError` where this processor cannot compute with ``numerics``."""
    if numerics == "portable" and (why := why_impossible()) is not None:
        raise UserError(f"numerics: portable {why}; write numerics: native.")


def why_impossible() -> str | None:
    """Why this processor has no portable numerics; None where it has them.

    Loads no library. Asks the system, and NumPy if it is loaded.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"is for x86-64 processors, and this is {platform.machine()}"
    flags = kernels.system_flags()
    if flags and not flags >= {"avx2", "fma"}:
        return _NO_AVX2
    if "numpy" in sys.modules:
        known = kernels.numpy_features()
        if not (known & {"X86_V3", "X86_V4"} or known >= {"AVX2", "FMA3"}):
            return _NO_AVX2
    return None


def why_not_portable() -> str | None:
    """What keeps this process from portable numerics; None where only :func:`require` is missing.

    Variables that were set after a library had chosen its kernels count for nothing. So each
    library is asked for its own.
    """
    if (why := why_impossible()) is not None:
        return f"portable {why}"
    return next(_departures(), None)


def _departures() -> Iterator[str]:
    for name, value in PORTABLE.items():
        if os.environ.get(name) != value:
            yield f"{name} {'has another value' if name in os.environ else 'is not set'}"
    for name in UNSET:
        if name in os.environ:
            yield f"{name} is set"
    if _sets_hwcaps(os.environ) or _sets_hwcaps(kernels.environment_at_start()):
        yield f"{_TUNABLES} sets hwcaps"
    if (chosen := kernels.torch_kernels()) != "AVX2":
        yield f"PyTorch computes with kernels for {chosen}"
    if (branch := kernels.mkl_branch()) not in (None, _COMPATIBLE):
        yield f"MKL computes with its branch {branch}, not the compatible one"
    if left := kernels.numpy_features() & set(PORTABLE["NPY_DISABLE_CPU_FEATURES"].split()):
        yield f"NumPy computes with kernels for {', '.join(sorted(left))}"
    for core, threads in kernels.openblas():
        if core not in (None, PORTABLE["OPENBLAS_CORETYPE"]):
            yield f"OpenBLAS computes with kernels for {core}"
        if threads != 1:
            yield f"OpenBLAS computes with {threads} threads"


def describe() -> dict[str, str]:
    """What decides how this process rounds: kernels, C library, and whether it is portable."""
    return {
        "kernels": kernels.torch_kernels(),
        "libc": " ".join(platform.libc_ver()),
        "numerics": "portable" if why_not_portable() is None else "native",
    }


@cache
def _round_square_roots() -> Any:
    """Give torch's CPU tensors NumPy's square root: correctly rounded, as IEEE 754 defines it.

    Once in a process, for good. The registration holds for as long as what is returned.
    """
    import numpy as np
    import torch
    from torch import Tensor

    def root(numbers: Tensor) -> Tensor:
        numbers = numbers.detach()
        if not numbers.is_floating_point():
            numbers = numbers.to(torch.get_default_dtype())
        if numbers.dtype not in (torch.float32, torch.float64):  # NumPy has no bfloat16
            return root(numbers.float()).to(numbers.dtype)
        with np.errstate(invalid="ignore"):  # NaN below zero, as torch has it
            return torch.from_numpy(np.asarray(np.sqrt(numbers.numpy())))

    def root_in_place(numbers: Tensor) -> Tensor:
        return numbers.copy_(root(numbers))

    def root_into(numbers: Tensor, *, out: Tensor) -> Tensor:
        return out.resize_(numbers.shape).copy_(root(numbers))

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is exchanged, which is the intention
        library.impl("sqrt", root, "CPU")
        library.impl("sqrt_", root_in_place, "CPU")
        library.impl("sqrt.out", root_into, "CPU")
    return library


def _is_set(environ: Mapping[str, str]) -> bool:
    return (
        all(environ.get(name) == value for name, value in PORTABLE.items())
        and not any(name in environ for name in UNSET)
        and not _sets_hwcaps(environ)
    )


def _sets_hwcaps(environ: Mapping[str, str]) -> bool:
    return any(_is_hwcaps(one) for one in environ.get(_TUNABLES, "").split(":"))


def _is_hwcaps(tunable: str) -> bool:
    """Of one ``NAME=VALUE``; the name's beginning differs between versions of the C library."""
    return tunable.partition("=")[0].endswith(_HWCAPS)


def _keep_hwcaps(environ: MutableMapping[str, str]) -> None:
    """Unset the settings of hwcaps and leave the others, such as those of ``malloc``."""
    tunables = environ.pop(_TUNABLES, "").split(":")
    if kept := [one for one in tunables if one and not _is_hwcaps(one)]:
        environ[_TUNABLES] = ":".join(kept)


def _as_shell() -> str:
    return " ".join(f"{name}='{value}'" for name, value in PORTABLE.items())


def _restart() -> None:
    """This very command again, in the same process and with the environment as it is now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
