"""The CPUs of a process: control groups of both versions, as folders of a container."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from engines.backends import network
from engines.backends.cpu_quota import cpu_quota, group_folders, quota, usable_cpus

V2 = "0::/pod/box\n"
V1 = "5:memory:/pod/box\n4:cpu,cpuacct:/pod/box\n1:name=systemd:/pod/box\n"


def machine(root: Path, membership: str, groups: Mapping[str, str]) -> Path:
    """A folder that holds what the kernel shows under / of the files that matter."""
    for name, text in {"proc/self/cgroup": membership, **{f"sys/fs/cgroup/{k}": v for k, v in groups.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.cfs_quota_us": "150000\n"}, None),
        ({"cpu.max": "200000 0"}, None),
        ({"cpu.max": "a b c"}, None),
        ({}, None),
    ],
)
def test_a_quota_is_allowed_time_over_period(files: dict[str, str], cpus: float | None) -> None:
    """Both versions of control groups, and everything that means: no limit."""
    assert quota(files) == cpus


@pytest.mark.parametrize(
    ("membership", "folders"),
    [
        (V2, ("pod/box", "pod", ".")),
        ("0::/\n", (".",)),
        ("0::/../../other\n", (".",)),
        (V1, ("cpu,cpuacct/pod/box", "cpu,cpuacct/pod", "cpu,cpuacct", "cpu/pod/box", "cpu/pod", "cpu")),
        ("3:cpuset:/a\n", ()),
        ("", ()),
    ],
)
def test_the_group_and_all_above_it_are_looked_at(membership: str, folders: tuple[str, ...]) -> None:
    """A limit on a pod holds for each of its containers; other controllers say nothing of CPU time."""
    assert group_folders(membership) == folders


@pytest.mark.parametrize(
    ("membership", "groups", "cpus"),
    [
        (V2, {"pod/box/cpu.max": "300000 100000", "pod/cpu.max": "200000 100000"}, 2.0),
        (V2, {"pod/box/cpu.max": "max 100000"}, None),
        (V2, {"cpu.max": "400000 100000"}, 4.0),
        (V1, {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2.5),
        (V1, {"cpu,cpuacct/pod/box/cpu.cfs_quota_us": "1", "cpu,cpuacct/pod/box/cpu.cfs_period_us": "2"}, 0.5),
        (V1, {"memory/pod/box/cpu.max": "100000 100000"}, None),
    ],
)
def test_the_smallest_quota_counts(tmp_path: Path, membership: str, groups: dict[str, str], cpus: float | None) -> None:
    """The container's own, its pod's, or that of the mount's root, which a container sees as its own."""
    assert cpu_quota(machine(tmp_path, membership, groups)) == cpus


@pytest.mark.parametrize(("allowed", "threads"), [("1000", 1), ("150000", 1), ("290000", 2), ("99900000", 8)])
def test_threads_stay_within_quota_and_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, threads: int
) -> None:
    """A quota is rounded down but for one thread, and never adds CPUs that the scheduler does not give."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    assert usable_cpus(machine(tmp_path, V2, {"pod/box/cpu.max": f"{allowed} 100000"})) == threads


def test_without_control_groups_affinity_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems have no such files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)

    assert usable_cpus(tmp_path) == 3


def test_networks_take_what_the_process_may_use_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that a person gave stands, whatever the quota says."""
    monkeypatch.setattr(network, "usable_cpus", lambda: 3)

    assert [network.thread_count(asked) for asked in (None, 0, 1, 16)] == [3, 1, 1, 16]
