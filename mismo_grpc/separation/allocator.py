"""Configures glibc to reuse the memory of one segment for the next one."""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of mallopt(3), glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8

NEVER = 2**31 - 1
HEAP_STEP = 256 * 2**20
"""Bytes that the heap grows by at once: about six tensors of htdemucs' largest layer."""


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory instead of returning it to the kernel; call it before threads start.

    A segment allocates and frees gigabytes in total, a few hundred megabytes at a time. By default glibc maps each
    large block anew, and page faults take a fifth of the time of a forward pass (docs/performance.md). The peak
    memory does not change, but it stays allocated. Returns False if there is another allocator, or if the
    environment has its own settings (MALLOC_*, GLIBC_TUNABLES).
    """
    ours = not any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if not (sys.platform == "linux" and ours):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    # One arena: only the first arena can grow without a bound, so only it can hold large blocks.
    settings = {M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: HEAP_STEP}
    # A list, so that every parameter is set even if one is refused.
    accepted = [mallopt(parameter, value) for parameter, value in settings.items()]
    return all(accepted)
