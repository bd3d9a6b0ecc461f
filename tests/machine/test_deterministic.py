"""``deterministic: true`` sets what makes GPUs repeat themselves, and puts it back."""

import subprocess
import sys

import pytest
import torch

from starprompt.errors import UserError
from starprompt.machine.devices import deterministic


def test_the_workspace_is_set_before_cublas_reads_it() -> None:
    program = (
        "import os, torch\n"
        "from starprompt.machine.devices import deterministic\n"
        "with deterministic():\n"
        "    assert torch.are_deterministic_algorithms_enabled()\n"
        "    assert not torch.backends.cudnn.benchmark\n"
        "    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_what_was_set_before_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    assert torch.utils.deterministic.fill_uninitialized_memory is filled  # type: ignore[attr-defined]


def test_a_caller_who_only_wants_warnings_gets_them_back() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic():
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_without_it_nothing_is_set() -> None:
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_kernel_without_a_deterministic_form_ends_in_a_sentence() -> None:
    """What torch raises there, from its own words; a CPU has no such kernel."""
    said = (
        "put_ does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism.\nMore."
    )
    with (
        pytest.raises(UserError, match=r"put_ does not have .* write deterministic: false"),
        deterministic(),
    ):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="another"), deterministic():
        raise RuntimeError("another mistake")
