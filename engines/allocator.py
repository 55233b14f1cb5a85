"""Options of glibc's allocator, mallopt(3). The C library of another system has none of them, and nothing happens."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from enum import IntEnum


class Option(IntEnum):
    """Names and numbers of malloc.h."""

    TRIM_THRESHOLD = -1
    """Free bytes at the end of the heap from which on they go back to the kernel."""
    TOP_PAD = -2
    """Bytes that the heap grows by beyond what was asked for."""
    MMAP_THRESHOLD = -3
    """Blocks of at least this many bytes are mapped by themselves, and go back to the kernel when they are freed."""
    MMAP_MAX = -4
    """How many blocks may be mapped by themselves."""
    ARENA_MAX = -8
    """How many heaps the threads of a process may have."""


def configure(options: Mapping[Option, int]) -> bool:
    """Set options for the rest of this process's life; False where the C library has none.

    Set `ARENA_MAX` before the first thread starts: an arena that is there stays.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(int(option), value) for option, value in options.items())
