"""glibc's allocator, told to keep freed memory for the next training step."""

from __future__ import annotations

from engines.allocator import Option, configure

_OPTIONS = {Option.MMAP_MAX: 0, Option.TRIM_THRESHOLD: 2**31 - 1, Option.TOP_PAD: 2**28}
"""No mapped blocks, no trimming, 256 MiB of reserve."""


def keep() -> None:
    """Keep freed memory in this process, where its C library is glibc's; elsewhere nothing happens.

    By default large blocks return to the kernel when they are freed, and every page of the next one faults: an eighth
    of a training step on a CPU.
    """
    configure(_OPTIONS)
