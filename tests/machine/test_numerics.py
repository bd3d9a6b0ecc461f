"""Portable numerics are set before any library reads them, or the process starts anew."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from starprompt.errors import UserError
from starprompt.machine import kernels, numerics

REPOSITORY = Path(__file__).parents[2]
#: the environment without what a caller of the tests may have set
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if name not in (*numerics.PORTABLE, *numerics.UNSET, "GLIBC_TUNABLES")
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


REFUSED = (
    "import os\n"
    "from starprompt.errors import UserError\n"
    "from starprompt.machine import numerics\n"
    "def refused():\n"
    "    try:\n"
    "        numerics.require('portable')\n"
    "    except UserError as error:\n"
    "        return str(error)\n"
    "    return 'accepted'\n"
)


@x86
def test_variables_that_are_set_after_the_libraries_were_loaded_are_refused() -> None:
    """torch reads them when it first computes, and NumPy and OpenBLAS when they are imported."""
    late = "os.environ.update(numerics.PORTABLE)\nprint(refused(), numerics.describe())\n"
    program = f"{REFUSED}import numpy, torch\na = torch.rand(9, 9)\n{late}"
    said = python(program)
    computed = python(f"{REFUSED}import torch\na = torch.rand(9, 9)\na @ a\n{late}")
    for found in (said, computed):
        assert "before any library is loaded" in found
        assert "'numerics': 'native'" in found


@x86
def test_each_library_is_asked_for_its_own_kernels() -> None:
    """By the names of old and new versions, in a process that is portable but for one library."""
    program = (
        f"{REFUSED}"
        "numerics.settle('portable')\n"
        "from starprompt.machine import kernels\n"
        "found = {}\n"
        "def instead(name, value):\n"
        "    was = getattr(kernels, name)\n"
        "    setattr(kernels, name, lambda: value)\n"
        "    found[f'{name}: {value}'] = refused()\n"
        "    setattr(kernels, name, was)\n"
        "instead('torch_kernels', 'AVX512')\n"
        "instead('mkl_branch', 1)\n"
        "instead('openblas', [('Haswell', 1), ('SkylakeX', 1)])\n"
        "instead('openblas', [('Haswell', 4)])\n"
        "instead('numpy_features', ['X86_V3', 'X86_V4'])\n"
        "instead('numpy_features', ['FMA3', 'AVX2', 'AVX512F'])\n"
        "instead('environment_at_start', {'GLIBC_TUNABLES': 'glibc.cpu.hwcaps=-FMA'})\n"
        "right = dict(found)\n"
        "found.clear()\n"
        "instead('mkl_branch', None)\n"
        "instead('openblas', [(None, 1)])\n"
        "instead('openblas', [])\n"
        "instead('numpy_features', ['FMA3', 'AVX2', 'AVX512_KNL'])\n"
        "instead('environment_at_start', {})\n"
        "import json\n"
        "print(json.dumps([right, found]))\n"
    ).replace("lambda: value", "lambda: set(value) if name == 'numpy_features' else value")
    refused, accepted = json.loads(python(program))
    for what, said in refused.items():
        assert "before any library is loaded" in said, (what, said)
    assert set(accepted.values()) == {"accepted"}, accepted


@x86
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has tunables")
def test_the_c_library_keeps_its_instructions_and_other_tunables() -> None:
    program = (
        "import hashlib, math, os, random, sys\n"
        "from starprompt.machine import numerics\n"
        "numerics.settle(sys.argv[1])\n"
        "random.seed(0)\n"
        "numbers = [math.exp(random.uniform(-20, 20)) for _ in range(100_000)]\n"
        "print(hashlib.sha256(repr(numbers).encode()).hexdigest())\n"
        "print(os.environ.get('GLIBC_TUNABLES'))\n"
    )

    def printed(numerics: str, tunables: str) -> list[str]:
        given = {"GLIBC_TUNABLES": tunables} if tunables else {}
        done = subprocess.run(
            [sys.executable, "-c", program, numerics],
            env=PLAIN | {"PYTHONPATH": str(REPOSITORY)} | given,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    without = "glibc.cpu.hwcaps=-FMA,-AVX2"
    (plain, _), (other, _) = printed("native", ""), printed("native", without)
    assert plain != other, "the setting changes nothing here"
    kept = "glibc.malloc.tcache_count=5"
    assert printed("portable", without) == [plain, "None"]
    assert printed("portable", f"{without}:{kept}") == [plain, kept]


def test_no_endless_restarts() -> None:
    """Where something takes the variables away again, the second start ends in a sentence."""
    import numpy  # noqa: F401 - that a library is there

    environ = {"STARPROMPT_RESTARTED": "1"}
    with pytest.raises(UserError, match="could not be set"):
        numerics.settle("portable", environ, lambda: pytest.fail("started anew twice"))


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")


@pytest.mark.usefixtures("arm")
def test_other_processors_are_refused() -> None:
    for refuse in (
        lambda: numerics.settle("portable", {}),
        lambda: numerics.require("portable"),
        lambda: numerics.require_processor("portable"),
    ):
        with pytest.raises(UserError, match=r"x86-64.*aarch64.*native"):
            refuse()
    numerics.require_processor("native")


@pytest.mark.usefixtures("arm")
def test_results_are_read_on_every_processor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def settle(numerics: str) -> None:
        settled.append(numerics)

    settled: list[str] = []
    monkeypatch.setattr(numerics, "settle", settle)
    numerics.settle_to_read("portable")
    assert settled == []
    assert ["aarch64" in record.message for record in caplog.records] == [True]
    numerics.settle_to_read("native")
    assert settled == ["native"]
    monkeypatch.undo()
    monkeypatch.setattr(numerics, "settle", settle)
    numerics.settle_to_read("portable")
    assert (settled == ["native", "portable"]) == (numerics.why_impossible() is None)


def test_a_processor_without_avx2_is_refused_before_a_library_is_set_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A library that is set to AVX2 and loaded there ends the process."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(kernels, "system_flags", lambda: {"sse4_2", "avx"})
    environ: dict[str, str] = {}
    with pytest.raises(UserError, match="AVX2 and FMA"):
        numerics.settle("portable", environ)
    assert environ == {}


@pytest.mark.parametrize(
    ("found", "possible"),
    [
        (["SSE41", "POPCNT", "SSE42", "AVX"], False),
        (["AVX2"], False),
        (["X86_V2"], False),
        (["AVX2", "FMA3"], True),
        (["X86_V3"], True),
    ],
)
def test_numpy_knows_the_processor_where_the_system_does_not(
    found: list[str], possible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(kernels, "system_flags", set)
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": found}})
    assert (numerics.why_impossible() is None) == possible


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
