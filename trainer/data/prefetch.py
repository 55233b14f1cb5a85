"""Work done ahead of the loop, by threads that stay out of its way."""

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
    """What `make` gives for first to last - 1, in order, made `workers` at a time by threads."""
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

    All of torch's threads wait for the one that was interrupted: a preparing thread of the same rank costs twice.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
