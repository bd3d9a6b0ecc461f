"""Let the C library keep the memory that tensors free, instead of returning it at once.

A training step frees tensors of megabytes and asks for as many again. By default glibc returns them
to the system, which hands out each page anew, filled with zeros, at its first use. On a CPU this
takes a tenth of a step. The peak of memory stays the same; what is free stays with the process.
"""

import ctypes

#: parameters of glibc's ``mallopt``: from which size on a block is returned when it is freed, and
#: how much free memory may lie at the end of the heap
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
#: bytes; larger blocks are those of whole data sets
KEPT = 2**30


def keep_freed_memory() -> bool:
    """Whether blocks of up to :data:`KEPT` bytes stay with this process from here on; False
    without glibc, where nothing changes."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(name, KEPT) == 1 for name in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
