"""Memory that is kept: what a training step frees, the next one takes again."""

from __future__ import annotations

import ctypes

_LARGEST = 2**31 - 1
_OPTIONS = {-4: 0, -1: _LARGEST, -2: 2**28}
"""M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of mallopt(3): no block apart, nothing given back, 256 MiB in hand."""


def keep() -> None:
    """Keep freed memory in this process, where its C library is glibc's; elsewhere nothing happens.

    By default large blocks go back to the kernel when they are freed and come again page by page: an eighth of a
    training step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option, value in _OPTIONS.items():
        mallopt(option, value)
