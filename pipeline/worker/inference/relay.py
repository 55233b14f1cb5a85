"""Batches on their way from the thread that prepares them to the one that concludes them.

    prepares     | batch 1 | batch 2 | batch 3 |        (no room)        | batch 4
    concludes              | batch 1, commit ............ | 2 and 3, commit

Both are at rest together when nothing waits and nothing is being concluded. Only the preparing side can end that, since
only it puts batches in. So while it sees rest it may do what concerns both: open and close partitions, swap the engine.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline.errors import TransientError

Batch = TypeVar("Batch")


class Relay(Generic[Batch]):
    """At most `depth` batches wait. Thread-safe."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[Batch] = deque()
        self._busy = False
        self._failure: TransientError | None = None
        self._stopped = False
        self._changed = threading.Condition()

    # The preparing side.

    def put(self, batch: Batch) -> None:
        """Hand a batch over; after a failure it is worthless and is dropped. There must be room."""
        with self._changed:
            if self._failure is None:
                self._waiting.append(batch)
                self._changed.notify_all()

    def has_room(self, seconds: float) -> bool:
        """Wait until a batch may be put in; False if there is no room after so long."""
        return self._wait(lambda: len(self._waiting) < self._depth, seconds)

    def rests(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing is being concluded; False if that is not so after so long."""
        return self._wait(lambda: not self._waiting and not self._busy, seconds)

    @property
    def failed(self) -> bool:
        """True while a failure was not taken."""
        with self._changed:
            return self._failure is not None

    def take_failure(self) -> TransientError | None:
        """Why the concluding side stopped, once; batches are taken again from then on."""
        with self._changed:
            failure, self._failure = self._failure, None
            return failure

    def stop(self) -> None:
        """End it: nothing more will come."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # The concluding side.

    def take(self, seconds: float) -> list[Batch]:
        """Take all that waits, after at most so long; `done` or `fail` must follow unless it is empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped, seconds)
            taken = list(self._waiting)
            self._waiting.clear()
            self._busy = bool(taken)
            self._changed.notify_all()
            return taken

    def done(self) -> None:
        """What was taken is concluded."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def fail(self, failure: TransientError) -> None:
        """What was taken cannot be concluded, and what waits is worthless."""
        with self._changed:
            self._busy, self._failure = False, failure
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        """True once nothing more will come."""
        with self._changed:
            return self._stopped

    def _wait(self, so: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: so() or self._stopped, seconds)
            return so()
