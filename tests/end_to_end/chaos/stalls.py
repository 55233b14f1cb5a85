"""How long a partition stood still while frames waited and the broker was there. `StallClock` is pure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from kafka import KafkaAdminClient, TopicPartition

from pipeline.health import accepts_connections

PERIOD = 0.5


@dataclass(frozen=True, slots=True, order=True)
class Stall:
    """A time without progress of a partition's committed position, in seconds."""

    seconds: float
    partition: int
    until: float
    """When it ended, or was last looked at."""


@dataclass(slots=True)
class StallClock:
    """The rule: a partition's clock runs while its committed position stands below its end and the broker is there.

    It starts again when the position moves, when nothing waits, and when the broker comes back.
    """

    longest: dict[int, Stall] = field(default_factory=dict)
    """The longest of each partition."""
    stalls: list[Stall] = field(default_factory=list)
    """All that have ended and took more than five seconds."""
    moved_back: int = 0
    """How often a committed position became a smaller one."""
    _since: dict[int, float] = field(default_factory=dict)
    _position: dict[int, int] = field(default_factory=dict)

    def away(self) -> None:
        """The broker is not there: no clock runs."""
        self._since.clear()

    def observe(self, now: float, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Take a sample: committed position and end of each partition."""
        for partition, end in ends.items():
            position = positions.get(partition, -1)
            before = self._position.get(partition, position)
            moved = position != before
            self.moved_back += 0 <= position < before
            self._position[partition] = position
            began = self._since.setdefault(partition, now)
            stall = Stall(now - began, partition, now)
            if end > position or moved:
                self.longest[partition] = max(self.longest.get(partition, stall), stall)
            if moved or end <= position:
                if stall.seconds > 5.0 and moved:
                    self.stalls.append(stall)
                self._since[partition] = now


class StallWatch(threading.Thread):
    """Samples a group's committed positions twice a second, with a client of its own."""

    def __init__(
        self, bootstrap: str, topic: str, group: str, partitions: int, ends: Callable[[], Mapping[int, int]]
    ) -> None:
        super().__init__(name="stalls", daemon=True)
        self._servers, self._group, self._ends = bootstrap, group, ends
        self._asked = [TopicPartition(topic, number) for number in range(partitions)]
        self._ended = threading.Event()
        self._admin: KafkaAdminClient | None = None
        host, _, port = bootstrap.rpartition(":")
        self._address = (host, int(port))
        self.clock = StallClock()
        self.positions: dict[int, int] = {}

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """The body of the thread."""
        while not self._ended.wait(PERIOD):
            if not accepts_connections(self._address):
                self.clock.away()
                continue
            try:
                ends = dict(self._ends())  # before the positions: what came in between is not waiting yet
                self.positions = self._committed()
                self.clock.observe(time.monotonic(), self.positions, ends)
            except Exception:  # the broker is coming up: the clocks run on, the next sample tells
                self._close()
        self._close()

    def _committed(self) -> dict[int, int]:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._servers,
                bootstrap_timeout_ms=2000,
                request_timeout_ms=4000,
                reconnect_backoff_max_ms=500,
            )
        found = self._admin.list_group_offsets({self._group: self._asked})[self._group]
        return {at.partition: one.offset for at, one in found.items() if one.offset >= 0}

    def _close(self) -> None:
        if self._admin is not None:
            with suppress(Exception):
                self._admin.close()
            self._admin = None
