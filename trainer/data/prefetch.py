"""Batches prepared ahead of the training loop, by threads of low priority."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from trainer.data import augment

Made = TypeVar("Made")

_NICE = 15


def ahead(make: Callable[[int], Made], first: int, last: int, workers: int) -> Iterator[Made]:
    """Yield make(first) to make(last - 1) in order, `workers` of them made at a time by threads."""
    augment.single_threaded()
    with ThreadPoolExecutor(workers, initializer=_give_way) as pool:
        waiting: deque[Future[Made]] = deque()
        for step in range(first, last):
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _give_way() -> None:
    """Lower this thread's priority, where the system has one per thread.

    All of torch's threads wait for one that was interrupted, so a preparing thread of equal priority costs twice.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
