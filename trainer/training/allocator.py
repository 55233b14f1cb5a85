"""glibc's allocator, told to keep freed memory for the next training step."""

from __future__ import annotations

import ctypes

_LARGEST = 2**31 - 1
_OPTIONS = {-4: 0, -1: _LARGEST, -2: 2**28}
"""M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of mallopt(3): no mmap, no trimming, 256 MiB of reserve."""


def keep() -> None:
    """Keep freed memory in this process, where its C library is glibc's; elsewhere nothing happens.

    By default large blocks return to the kernel when they are freed, and every page of the next one faults: an eighth
    of a training step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, value in _OPTIONS.items():
        mallopt(option, value)
