"""How the processor's kernels round: at full speed, or alike on every x86-64 processor.

    native    every library takes the fastest kernels that the processor has
    portable  every library takes the kernels of AVX2 and one thread, MKL those of its compatible
              branch: equal bytes on all processors with AVX2 and FMA (Haswell, Zen and later)

Kernels differ in the order in which they add, and so in their last digits. Libraries choose theirs
when they are loaded, from environment variables: :func:`settle` sets these before, and starts the
process anew where one is loaded already. Nothing here imports torch before it is asked to.

One function is out of the variables' reach. torch computes square roots by MKL's vector library,
which begins with the processor's own approximation of 1/sqrt(x), and no two makers' are alike:
:func:`require` puts IEEE's square root in its place, which every processor rounds in one way.
"""

import os
import platform
import sys
import warnings
from collections.abc import MutableMapping
from functools import cache
from typing import Any, Literal

from starprompt.errors import UserError

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
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise UserError(
            f"numerics: portable is for x86-64 processors, and this is {platform.machine()}; "
            "write numerics: native."
        )
    if not _is_set(environ):
        environ.update(PORTABLE)
        for name in UNSET:
            environ.pop(name, None)
        if any(name in sys.modules for name in READERS):
            if environ.get(_RESTARTED):
                raise UserError(
                    "numerics: portable could not be set, because the environment changes "
                    f"after this process has started; set {_as_shell()} yourself."
                )
            environ[_RESTARTED] = "1"
            (restart or _restart)()
    environ.pop(_RESTARTED, None)
    _require_processor()


def require(numerics: Numerics) -> None:
    """Check that the libraries, loaded by now, compute with ``numerics``; exchange torch's sqrt.

    Raises :class:`UserError` with what to do: a caller that is no command has to set the
    environment by itself.
    """
    if numerics != "portable":
        return
    import torch

    if not _is_set(os.environ) or torch.backends.cpu.get_cpu_capability() != "AVX2":
        raise UserError(
            "numerics: portable must be set before any library is loaded, as the commands of "
            f"starprompt do; start Python with {_as_shell()}."
        )
    _require_processor()
    _round_square_roots()


def describe() -> dict[str, str]:
    """What decides how this process rounds: kernels, C library, and whether it is portable."""
    import torch

    return {
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "libc": " ".join(platform.libc_ver()),
        "numerics": "portable" if _is_set(os.environ) else "native",
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


def _is_set(environ: MutableMapping[str, str]) -> bool:
    return all(environ.get(name) == value for name, value in PORTABLE.items()) and not any(
        name in environ for name in UNSET
    )


def _require_processor() -> None:
    """AVX2 and FMA, asked of NumPy, which asks the processor itself."""
    import numpy as np

    found = set(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))  # type: ignore[call-overload]
    if not (found & {"X86_V3"} or found >= {"AVX2", "FMA3"}):
        raise UserError(
            "numerics: portable needs AVX2 and FMA (Intel since Haswell, 2013; AMD since "
            "Zen, 2017), which this processor lacks; write numerics: native."
        )


def _as_shell() -> str:
    return " ".join(f"{name}='{value}'" for name, value in PORTABLE.items())


def _restart() -> None:
    """This very command again, in the same process and with the environment as it is now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
