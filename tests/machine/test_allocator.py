"""Freed memory stays with the process where glibc is set so."""

import platform
import subprocess
import sys

import pytest

from starprompt.machine.allocator import KEPT, KEPT_BY_OLDER, keep_freed_memory

PAGES = """
import resource
import torch
from starprompt.machine.allocator import keep_freed_memory
if {kept}:
    assert keep_freed_memory() >= {kept_by_older}
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
        code = PAGES.format(kept=kept, kept_by_older=KEPT_BY_OLDER)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return int(done.stdout)

    # Twenty blocks of 8,192 pages each.
    assert pages(kept=True) * 4 < pages(kept=False)


class Library:
    """A C library whose ``mallopt`` admits an mmap threshold up to ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.set: dict[int, int] = {}

    def mallopt(self, parameter: int, value: int) -> int:
        if parameter == -3 and value > self.most:
            return 0
        self.set[parameter] = value
        return 1


@pytest.mark.parametrize(
    ("most", "kept", "settings"),
    [
        (2**40, KEPT, {-1: KEPT, -3: KEPT}),
        (KEPT_BY_OLDER, KEPT_BY_OLDER, {-1: KEPT, -3: KEPT_BY_OLDER}),
        (0, 0, {-1: KEPT}),
    ],
)
def test_an_older_glibc_keeps_what_it_admits(
    most: int, kept: int, settings: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(most)
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    assert keep_freed_memory() == kept
    assert library.set == settings


def test_without_glibc_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherLibrary:
        pass

    monkeypatch.setattr("ctypes.CDLL", lambda name: OtherLibrary())
    assert keep_freed_memory() == 0
