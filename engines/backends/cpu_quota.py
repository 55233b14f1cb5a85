"""How many CPUs this process may use: its control groups' quota and its scheduler affinity.

A container that is limited to two CPUs of a host with 64 still sees 64. Its quota stands in files of the kernel's
control groups (Documentation/admin-guide/cgroup-v2.rst, and scheduler/sched-bwc.rst for version 1):

    /proc/self/cgroup    version 2: 0::/pod/container              version 1: 4:cpu,cpuacct:/pod/container
    /sys/fs/cgroup/      pod/container/cpu.max: "200000 100000"    cpu,cpuacct/pod/container/cpu.cfs_quota_us: 200000
                                                                   and cpu.cfs_period_us: 100000
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

_FILES = ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs that this process may keep busy, at least 1.

    A quota is rounded down: a thread beyond the quota makes the kernel stop all of them for the rest of every period.
    root: where proc and sys are looked for.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = cpu_quota(root)
    return count if limit is None else max(1, min(count, int(limit)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the quota in CPUs, the smallest of the process's groups and those above; None where there is none."""
    groups = root / "sys/fs/cgroup"
    found = (
        quota(dict(_contents(groups / folder))) for folder in group_folders(_text(root / "proc/self/cgroup") or "")
    )
    return min((limit for limit in found if limit is not None), default=None)


def group_folders(membership: str) -> tuple[str, ...]:
    """Return the folders that may hold a quota, below the mount point of the control groups; pure.

    membership: content of /proc/self/cgroup. A container may see its own group as the root of the mount, whatever the
    path says, so the root is always one of them.
    """
    folders: dict[str, None] = {}
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = dict.fromkeys((controllers, "cpu")) if controllers else ("",)
        own = PurePosixPath(path.lstrip("/"))
        above = [] if ".." in own.parts else [str(own), *map(str, own.parents)]
        folders |= dict.fromkeys(str(PurePosixPath(mount, part)) for mount in mounts for part in (*above, "."))
    return tuple(folders)


def quota(files: Mapping[str, str]) -> float | None:
    """Return the quota of one group in CPUs; pure. None where there is none, or the files are not understood.

    files: contents by name, of `cpu.max` (version 2), `cpu.cfs_quota_us` and `cpu.cfs_period_us` (version 1).
    """
    parts = files.get("cpu.max", "").split() or [files.get("cpu.cfs_quota_us", ""), files.get("cpu.cfs_period_us", "")]
    try:
        allowed, period = map(int, parts)
    except ValueError:  # "max", or no such file
        return None
    return allowed / period if allowed > 0 and period > 0 else None  # version 1 writes -1 for no limit


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    return ((name, text) for name in _FILES if (text := _text(folder / name)) is not None)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
