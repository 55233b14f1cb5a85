"""How much a worker does at once."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.worker import WorkerSettings
from pipeline.worker.inference.sizes import Sizes, sizes_of


@pytest.mark.parametrize(
    ("settings", "cpus", "sizes"),
    [
        ({}, 1, Sizes(1, 8, 32)),
        ({}, 2, Sizes(2, 8, 32)),
        ({}, 16, Sizes(8, 64, 256)),
        ({"threads": 2}, 16, Sizes(8, 8, 32)),
        ({"threads": 8}, 2, Sizes(2, 32, 128)),
        ({"decode_threads": 3, "batch_frames": 5, "queue_batches": 2}, 16, Sizes(3, 5, 10)),
    ],
)
def test_sizes_follow_the_cpus_unless_they_are_named(settings: dict[str, Any], cpus: int, sizes: Sizes) -> None:
    """Every thread of the networks has a tile of work in a batch; a container that may use two CPUs starts two."""
    assert sizes_of(WorkerSettings(**settings), cpus) == sizes


def test_the_cpus_are_those_that_the_process_may_use() -> None:
    """As the networks count them: affinity and the quota of the control groups."""
    found = sizes_of(WorkerSettings())
    assert found.decode_threads >= 1 and found.batch_frames >= 8
