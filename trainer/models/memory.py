"""How much memory a machine has. What it cannot hold is refused, since a process that is killed for it says nothing."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""What a container may use, where it is less than the machine has (cgroup 2 and 1)."""


def available(device: str = "cpu") -> int:
    """Bytes of memory that this process could have on a device if nothing else ran."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (path.read_text().strip() for path in _LIMITS if path.is_file())
    return min(machine, *(int(limit) for limit in limits if limit.isdigit()), machine)


def gibibytes(count: int) -> str:
    """A number of bytes for a message."""
    return f"{count / 2**30:.3g} GiB"
