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
#: bytes: glibc before 2.35 refuses a larger first parameter (half its HEAP_MAX_SIZE, 32 MiB on 64
#: bits), and changes nothing then
KEPT_BY_OLDER = 4 * 2**20 * ctypes.sizeof(ctypes.c_long)


def keep_freed_memory() -> int:
    """Up to how many bytes a freed block stays with this process from here on.

    :data:`KEPT`; :data:`KEPT_BY_OLDER` with an older glibc; 0 without glibc, where nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return 0
    mallopt(_TRIM_THRESHOLD, KEPT)
    sizes = (KEPT, KEPT_BY_OLDER)
    return next((size for size in sizes if mallopt(_MMAP_THRESHOLD, size) == 1), 0)
