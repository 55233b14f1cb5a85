"""Ends the process when a step that must end does not.

A transactional call of kafka-python may never return. Its heartbeats go on, so the group does not notice. Such a worker
cannot recover by itself: the process ends with `supervisor.STUCK`, and its supervisor starts a fresh one. Time counts
only while the broker accepts connections, because a broker that is away is no reason to die. The hard limit counts
always.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from pipeline.health import accepts_connections
from pipeline.supervisor import STUCK

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A step that has run for too long. `counted` are its seconds with a reachable broker, `elapsed` all of them."""

    step: str
    counted: float
    elapsed: float


@dataclass(slots=True)
class _Running:
    step: str
    began: float
    checked: float
    counted: float = 0.0


@dataclass(slots=True)
class Watchdog:
    """Decides which step is overdue, without a clock or a thread. Times are monotonic seconds."""

    limit: float = 12.0
    hard_limit: float = 60.0
    _running: dict[int, _Running] = field(default_factory=dict)
    _next: int = 0

    def begin(self, step: str, now: float) -> int:
        """Begin a step; returns the number by which to end it."""
        self._next += 1
        self._running[self._next] = _Running(step, now, now)
        return self._next

    def end(self, number: int) -> None:
        """End a step: it has returned or raised."""
        self._running.pop(number, None)

    def oldest(self, now: float) -> float:
        """Seconds since the oldest running step began; 0 when none runs."""
        return max((now - running.began for running in self._running.values()), default=0.0)

    def check(self, now: float, reachable: bool) -> Overdue | None:
        """Count the time since the last check if the broker is `reachable`; return an overdue step, if there is one."""
        for running in self._running.values():
            if reachable:
                running.counted += now - running.checked
            running.checked = now
            if running.counted > self.limit or now - running.began > self.hard_limit:
                return Overdue(running.step, running.counted, now - running.began)
        return None


class WatchdogThread:
    """Checks a watchdog twice a second while a step runs, and calls `expire` once when one is overdue."""

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        *,
        watchdog: Watchdog | None = None,
        expire: Callable[[Overdue], None] | None = None,
        interval: float = 0.5,
    ) -> None:
        self._watchdog = watchdog or Watchdog()
        self._addresses = tuple(addresses)
        self._expire = expire or end_process
        self._interval = interval
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Watch the body of a `with` statement."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="broker-watchdog", daemon=True)
                self._thread.start()
            number = self._watchdog.begin(name, time.monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._watchdog.end(number)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            with self._lock:
                idle = self._watchdog.oldest(time.monotonic()) == 0.0
            if idle:
                continue
            reachable = any(accepts_connections(address) for address in self._addresses)
            with self._lock:
                overdue = self._watchdog.check(time.monotonic(), reachable)
            if overdue is not None:
                self._expire(overdue)
                return


def end_process(overdue: Overdue) -> None:
    """Log and end this process at once. It cannot clean up, because the stuck thread would hold that up for ever."""
    log.critical(
        "a step of a transaction does not end; ending the process for its supervisor to start anew",
        step=overdue.step,
        seconds=round(overdue.elapsed, 1),
        exit_code=STUCK,
    )
    os._exit(STUCK)
