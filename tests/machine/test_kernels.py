"""What the processor has and what the libraries chose, from what they say of themselves."""

import platform
from pathlib import Path

import pytest

from starprompt.machine import kernels

INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse2 fma avx avx2\nbugs\t\t:\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd aes sve\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("text", "flags"), [(INTEL, {"fpu", "sse2", "fma", "avx", "avx2"}), (ARM, set()), (None, set())]
)
def test_flags_of_the_system(
    text: str | None, flags: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        kernels.CPUINFO.write_text(text)
    assert kernels.system_flags() == flags


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux says it")
def test_the_environment_at_the_start_is_not_that_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARPROMPT_LATE", "1")
    monkeypatch.delenv("PATH")
    found = kernels.environment_at_start()
    assert "STARPROMPT_LATE" not in found
    assert found["PATH"]


@pytest.mark.parametrize(
    ("extensions", "features"),
    [
        (  # NumPy 2.0
            {
                "baseline": ["SSE", "SSE2", "SSE3"],
                "found": ["AVX2", "FMA3"],
                "not found": ["AVX512F"],
            },
            {"SSE", "SSE2", "SSE3", "AVX2", "FMA3"},
        ),
        (  # NumPy 2.4, built for newer processors alone
            {"baseline": ["X86_V2", "X86_V3"], "not found": ["X86_V4", "AVX512_ICL"]},
            {"X86_V2", "X86_V3"},
        ),
    ],
)
def test_numpy_says_what_it_uses(
    extensions: dict[str, list[str]], features: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numpy.show_config", lambda mode: {"SIMD Extensions": extensions})
    assert kernels.numpy_features() == features


def test_only_openblas_is_asked_for_its_core(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = [
        {"internal_api": "openmp", "num_threads": 4},
        {"internal_api": "openblas", "num_threads": 1, "architecture": "Zen"},
        {"internal_api": "openblas", "num_threads": 2},
    ]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: libraries)
    assert kernels.openblas() == [("Zen", 1), (None, 2)]


def test_a_torch_without_mkl_has_no_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: F401 - it loads libraries in the same way

    class OtherLibrary:
        pass

    monkeypatch.setattr("ctypes.CDLL", lambda name: OtherLibrary())
    assert kernels.mkl_branch() is None
    asked = []

    class Mkl:
        def mkl_serv_cbwr_get(self, which: int) -> int:
            asked.append(which)
            return 3

    monkeypatch.setattr("ctypes.CDLL", lambda name: Mkl())
    assert kernels.mkl_branch() == 3
    assert asked == [-1]
