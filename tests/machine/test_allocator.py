"""Freed memory stays with the process where glibc is set so."""

import platform
import subprocess
import sys

import pytest

from starprompt.machine.allocator import KEPT, keep_freed_memory

PAGES = """
import resource
import torch
from starprompt.machine.allocator import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
def use():
    torch.empty(8 * 2**20).fill_(1.0)
for _ in range(20):  # until small blocks of the libraries lie elsewhere
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_freed_blocks_are_used_again_without_new_pages() -> None:
    def pages(kept: bool) -> int:
        code = PAGES.format(kept=kept)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return int(done.stdout)

    # Twenty blocks of 8,192 pages each.
    assert pages(kept=True) * 4 < pages(kept=False)


def test_without_glibc_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherLibrary:
        pass

    monkeypatch.setattr("ctypes.CDLL", lambda name: OtherLibrary())
    assert KEPT == 2**30
    assert keep_freed_memory() is False
