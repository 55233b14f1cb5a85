"""Batches made ahead of the loop."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from trainer.data.prefetch import ahead


def test_what_is_made_ahead_comes_in_order_and_not_all_at_once() -> None:
    """Steps 3 to 20 by two threads: no more than two more per thread than were taken, and the first error is raised."""
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        if step == 18:
            raise ValueError("no such step")
        return step * step

    found = ahead(make, 3, 20, 2)
    assert next(found) == 9
    assert len(made) <= 5
    with pytest.raises(ValueError, match="no such step"):
        assert [next(found) for _ in range(20)] == []
    assert sorted(made[:15]) == list(range(3, 18))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority per thread")
def test_its_threads_stay_out_of_the_way_of_the_loop() -> None:
    """The preparing threads have a lower priority (a higher number); that of the loop stays as it was."""

    def priority(_: int = 0) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    assert all(one > before for one in ahead(priority, 0, 6, 2))
    assert priority() == before
