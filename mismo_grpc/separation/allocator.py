"""Keeps the memory of one segment mapped for the next one."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3), glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8

NEVER = 2**31 - 1
HEAP_STEP = 256 * 2**20
"""Bytes; the heap grows so much at once: some six tensors of htdemucs' largest layer."""


def keep_freed_memory() -> bool:
    """Makes glibc keep what was freed instead of giving it back to the kernel; call before threads start.

    A segment allocates and frees gigabytes in all, a few hundred megabytes at a time. By default each large
    block is mapped anew, and a fifth of the time of a forward goes into page faults (docs/performance.md). The
    peak stays what it was, but is kept. Answers False where there is another allocator, or where the
    environment has settings of its own (MALLOC_*, GLIBC_TUNABLES).
    """
    ours = not any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if not (sys.platform == "linux" and ours):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    # One arena: only the first one grows without a bound, and so can hold large blocks.
    settings = {M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: HEAP_STEP}
    # All of them, also after one that is refused.
    accepted = [mallopt(parameter, value) for parameter, value in settings.items()]
    return all(accepted)
