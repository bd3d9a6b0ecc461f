"""Portable numerics are set before any library reads them, or the process starts anew."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from starprompt.errors import UserError
from starprompt.machine import numerics

REPOSITORY = Path(__file__).parents[2]
#: the environment without what a caller of the tests may have set
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if name not in (*numerics.PORTABLE, *numerics.UNSET)
}
x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not x86-64")


def python(program: str, **environ: str) -> str:
    """What a program prints that starts with a plain environment."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=PLAIN | {"PYTHONPATH": str(REPOSITORY)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_native_numerics_change_nothing() -> None:
    environ = {"MKL_CBWR": "AVX2"}
    numerics.settle("native", environ)
    assert environ == {"MKL_CBWR": "AVX2"}


@x86
def test_portable_numerics_reach_every_library() -> None:
    printed = python(
        "import json\n"
        "from starprompt.machine import numerics\n"
        "numerics.settle('portable')\n"
        "import torch, numpy, scipy.linalg, threadpoolctl\n"
        "numerics.require('portable')\n"
        "info = threadpoolctl.threadpool_info()\n"
        "print(json.dumps({'torch': torch.backends.cpu.get_cpu_capability(),\n"
        "    'threads': torch.get_num_threads(),\n"
        "    'blas': [lib['architecture'] for lib in info if lib['internal_api'] == 'openblas'],\n"
        "    'numpy': numpy.show_config(mode='dicts')['SIMD Extensions']['found'],\n"
        "    'about': numerics.describe()}))",
        NPY_ENABLE_CPU_FEATURES="X86_V3",
    )
    found = json.loads(printed)
    assert found["torch"] == "AVX2"
    assert found["threads"] == 1
    assert len(found["blas"]) >= 2
    assert set(found["blas"]) == {"Haswell"}
    assert not any("512" in name or name == "X86_V4" for name in found["numpy"])
    assert found["about"]["numerics"] == "portable"


@x86
def test_a_process_that_has_loaded_a_library_starts_anew() -> None:
    """Its arguments, its standard input and its exit status are those of the new start."""
    program = (
        "import sys, torch\n"
        "before = torch.backends.cpu.get_cpu_capability()\n"
        "from starprompt.machine import numerics\n"
        "numerics.settle('portable')\n"
        "print(before, torch.backends.cpu.get_cpu_capability(), sys.argv[1:])\n"
        "sys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--a", "b c"],
        env=PLAIN | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout == "AVX2 AVX2 ['--a', 'b c']\n"


def test_a_library_that_was_loaded_before_is_refused() -> None:
    """A caller that is no command learns which variables to set, and nothing is computed."""
    said = python(
        "import torch\n"
        "from starprompt.errors import UserError\n"
        "from starprompt.machine import numerics\n"
        "try:\n"
        "    numerics.require('portable')\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    assert "before any library is loaded" in said
    assert "MKL_CBWR='COMPATIBLE'" in said


def test_no_endless_restarts() -> None:
    """Where something takes the variables away again, the second start ends in a sentence."""
    environ = {"STARPROMPT_RESTARTED": "1"}
    with pytest.raises(UserError, match="could not be set"):
        numerics.settle("portable", environ, lambda: pytest.fail("started anew twice"))


def test_other_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(UserError, match=r"x86-64.*aarch64.*native"):
        numerics.settle("portable", {})


@x86
def test_a_processor_without_avx2_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    old = {"SIMD Extensions": {"found": ["SSE41", "POPCNT", "SSE42", "AVX"]}}
    monkeypatch.setattr(np, "show_config", lambda mode: old)
    with pytest.raises(UserError, match="AVX2 and FMA"):
        numerics.settle("portable", dict(numerics.PORTABLE))


@x86
def test_square_roots_are_correctly_rounded() -> None:
    """torch's own are not: MKL begins with the processor's approximation, and makers differ."""
    program = (
        "from starprompt.machine import numerics\n"
        "numerics.settle('portable')\n"
        "import numpy as np, torch\n"
        "numerics.require('portable')\n"
        "numerics.require('portable')\n"
        "x = torch.rand(50, 99, generator=torch.Generator().manual_seed(0)) * 100\n"
        "for numbers in (x, x.double(), x.t(), x[:, ::3], x[0, 0]):\n"
        "    exact = np.sqrt(numbers.numpy())\n"
        "    for root in (numbers.sqrt(), numbers.clone().sqrt_(),\n"
        "                 torch.sqrt(numbers, out=torch.empty(0, dtype=numbers.dtype))):\n"
        "        assert root.shape == numbers.shape and root.dtype == numbers.dtype\n"
        "        assert (root.numpy() == exact).all()\n"
        "assert torch.tensor([-1.0]).sqrt().isnan().all()\n"
        "assert torch.tensor(4).sqrt().dtype == torch.float32\n"
        "assert torch.ones(2, dtype=torch.bfloat16).sqrt().dtype == torch.bfloat16\n"
        "y = x.clone().requires_grad_()\n"
        "assert torch.autograd.gradcheck(torch.sqrt, (x[0, :5].double().requires_grad_(),))\n"
        "y.sqrt().sum().backward()\n"
        "assert torch.allclose(y.grad, 0.5 / x.sqrt())\n"
        "with torch.inference_mode():\n"
        "    assert x.sqrt().shape == x.shape\n"
    )
    python(program)
