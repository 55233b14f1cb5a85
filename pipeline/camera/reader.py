"""One camera, for as long as it is wanted: connect, read, and connect again.

PyAV's calls block and cannot be interrupted, so each camera has a thread of its own. Two watchdogs guard it. The thread
itself gives up a connection without usable pictures, whatever else arrives on it. The owner calls `watch` about once a
second, which abandons a thread that hangs in a call and starts another. An abandoned thread ends when its call returns,
and nothing that it does counts any more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from pipeline.analysis.ticks import SECOND
from pipeline.camera.backoff import Backoff
from pipeline.camera.capture_time import CaptureTime, CaptureTimes, SteadyClock
from pipeline.camera.condition import Condition
from pipeline.camera.sampling import SampledFrame, sampled, stamps
from pipeline.camera.source import Picture, SourceSettings, open_source
from pipeline.errors import ActionwireError, CameraUnavailable, ConfigurationError, mask
from pipeline.records.cameras import CameraCondition

log = structlog.get_logger(__name__)

_HEALTHY_SECONDS = 10.0
"""A connection that lasts this long makes the waits short again."""

_PASS_SECONDS = 1.0
"""Shortest pass of a looping file. A still image would otherwise open sessions without a pause."""


class _Stalled(CameraUnavailable):
    """The connection is up, but no pictures come."""


class _Attempt:
    """One reading thread. `stopped` is set once nobody wants its pictures any more."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None


class _Pace:
    """Plays a file in real time."""

    def __init__(self) -> None:
        self._zero: float | None = None

    def wait(self, pts: int, stopped: threading.Event) -> None:
        """Wait until a picture is due; the first is due at once."""
        if self._zero is None:
            self._zero = time.monotonic() - pts / SECOND
        stopped.wait(max(0.0, self._zero + pts / SECOND - time.monotonic()))


class Camera:
    """Reads one camera and passes every sampled frame to `deliver`, on the camera's own thread.

    after_session: sessions begin later than this one (ms). loop: a file starts again at its end, as a new session.
    """

    def __init__(
        self,
        name: str,
        source: SourceSettings,
        *,
        rate: int,
        deliver: Callable[[SampledFrame], None],
        backoff: Backoff,
        tolerance_seconds: float = 5.0,
        loop: bool = False,
        after_session: int = 0,
    ) -> None:
        self.name = name
        self._source = source
        self._rate = rate
        self._deliver = deliver
        self._backoff = backoff
        self._loop = loop
        self._capture_times = CaptureTimes(name, rate, round(tolerance_seconds * SECOND), after_session)
        self._clock = SteadyClock()
        self._lock = threading.Lock()
        self._attempt = _Attempt()
        self._condition = Condition(since_ms=time.time_ns() // 1_000_000, session=after_session or None)
        self._connected = False
        self._progress = time.monotonic()
        self._picture_at = time.monotonic()
        """When the last usable picture came; a reconnect does not move it."""
        self._stamps: deque[int] = deque(maxlen=100)

    def start(self, wait: float = 0.0) -> None:
        """Start reading, after `wait` seconds."""
        attempt = _Attempt()
        self._attempt = attempt
        self._progress = time.monotonic() + wait
        name = f"camera-{self.name}"
        attempt.thread = threading.Thread(target=self._run, args=(attempt, wait), name=name, daemon=True)
        attempt.thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """Stop reading and wait up to `seconds` for the thread; one that hangs in a call ends later by itself."""
        self._attempt.stopped.set()
        if self._attempt.thread:
            self._attempt.thread.join(seconds)

    def watch(self) -> None:
        """Replace a thread that hangs in a call. Call this about once a second."""
        limit = self._source.stall_seconds if self._connected else self._source.open_seconds * 3
        with self._lock:
            if self._attempt.stopped.is_set() or not self._source.live:
                return
            if time.monotonic() - self._progress < limit:
                return
            self._attempt.stopped.set()
        self._fault(self._stall(unusable=False))
        self.start(self._backoff.next())

    def renew(self) -> None:
        """Let the next picture open a newer session. Callable from any thread."""
        with self._lock:
            self._capture_times.restart()

    def outrank(self, session: int) -> None:
        """Let the next picture open a session later than this one (ms), unless ours is. Callable from any thread."""
        with self._lock:
            if (self._condition.session or 0) < session:
                self._capture_times.restart(session)

    def condition(self) -> Condition:
        """The condition of the camera now."""
        now = time.monotonic()
        silent = now - self._picture_at
        quiet = max(1.0, self._source.stall_seconds / 2)
        state: CameraCondition = "offline" if not self._connected else "stalled" if silent > quiet else "online"
        with self._lock:
            if state != self._condition.state:
                since = time.time_ns() // 1_000_000
                self._condition = replace(self._condition, state=state, since_ms=since)
            return replace(self._condition, fps=self._fps(), silent_seconds=silent)

    def _fps(self) -> float | None:
        if len(self._stamps) < 2 or self._stamps[-1] <= self._stamps[0]:
            return None
        return (len(self._stamps) - 1) * SECOND / (self._stamps[-1] - self._stamps[0])

    def _stall(self, *, unusable: bool) -> _Stalled:
        words = "no picture for {:g} s; is it overloaded or frozen?"
        if unusable:
            words = "all pictures of {:g} s were damaged or had no time stamp; use tcp, or look for a weak network"
        return _Stalled(f"{self._source.where}: {words.format(self._source.stall_seconds)}")

    def _run(self, attempt: _Attempt, wait: float) -> None:
        """Body of a reading thread."""
        attempt.stopped.wait(wait)
        while not attempt.stopped.is_set():
            begun = time.monotonic()
            try:
                self._read(attempt)
                if not self._loop:
                    self._update(attempt, ended=True, last_error="the file has ended")
                    return
                attempt.stopped.wait(max(0.0, _PASS_SECONDS - (time.monotonic() - begun)))
            except ActionwireError as error:
                self._retry(attempt, error)
            except Exception as error:  # the edge of the thread: the camera must come back, whatever happened
                self._retry(attempt, CameraUnavailable(f"{self._source.where}: {type(error).__name__}: {error}"))

    def _retry(self, attempt: _Attempt, error: ActionwireError) -> None:
        if attempt.stopped.is_set():
            return
        self._fault(error)
        self._progress = time.monotonic() + (wait := self._backoff.next(hopeless=isinstance(error, ConfigurationError)))
        attempt.stopped.wait(wait)
        self._progress = time.monotonic()

    def _fault(self, error: ActionwireError) -> None:
        reason = mask(str(error))
        with self._lock:
            before = self._condition
            again = reason == before.last_error and not self._connected
            self._connected = False
            stalls = before.stalls + isinstance(error, _Stalled)
            self._condition = replace(before, last_error=reason, reconnects=before.reconnects + 1, stalls=stalls)
        (log.debug if again else log.warning)("camera lost", camera=self.name, reason=reason)

    def _update(self, attempt: _Attempt, **changes: object) -> None:
        with self._lock:
            if not attempt.stopped.is_set():
                self._connected = False
                self._condition = replace(self._condition, **changes)  # type: ignore[arg-type]

    def _arrival(self, picture: Picture) -> int:
        """When a picture arrived, by the wall clock as it is set now.

        Packets are stamped with monotonic time. The decoder holds pictures back, and if somebody set the wall clock
        meanwhile, some would carry the old time and some the new, with nothing to tell them apart.
        """
        monotonic = time.monotonic_ns()
        instant, stepped = self._clock.instant(time.time_ns(), monotonic)
        if stepped:
            self._capture_times.restart()
        return instant - (monotonic - picture.arrival) if self._source.live else instant

    def _read(self, attempt: _Attempt) -> None:
        """Read one connection, until it fails or the file ends."""
        self._progress = time.monotonic()
        with open_source(self._source, time.monotonic_ns) as source:
            with self._lock:
                if attempt.stopped.is_set():
                    return
                self._capture_times.restart()
                self._stamps.clear()
                self._connected = True
                self._condition = replace(self._condition, codec=source.codec)
            self._progress = opened = time.monotonic()
            pace = None if self._source.live else _Pace()
            rejected = 0
            for picture in source.pictures():
                if attempt.stopped.is_set():
                    return
                since = max(self._picture_at, opened)
                if self._source.live and time.monotonic() - since >= self._source.stall_seconds:
                    raise self._stall(unusable=self._progress > since)
                if picture is not None:
                    self._take(attempt, picture, pace)
                    if self._picture_at - opened > _HEALTHY_SECONDS:
                        self._backoff.reset()
                elif source.undecodable > rejected:
                    rejected = source.undecodable
                    self._damaged()

    def _damaged(self) -> None:
        with self._lock:
            self._condition = replace(self._condition, corrupt=self._condition.corrupt + 1)

    def _take(self, attempt: _Attempt, picture: Picture, pace: _Pace | None) -> None:
        """Find one picture's capture time, and deliver it when it answers a tick."""
        if pace and picture.pts is not None:
            pace.wait(picture.pts, attempt.stopped)
        with self._lock:
            if attempt.stopped.is_set():
                return
            self._progress = time.monotonic()
            arrival = self._arrival(picture)
            timed = None if picture.corrupt else self._capture_times.of(stamps(picture, arrival))
            if timed:  # an unusable picture is no sign of life: workers never see it
                self._picture_at = self._progress
            self._note(picture, timed)
        if timed and timed.opened:
            log.info("camera session", camera=self.name, session=timed.session, reason=timed.opened, clock=timed.clock)
        if timed and timed.tick is not None:
            self._deliver(sampled(self.name, self._rate, timed, timed.tick, picture, self._source.short_side))

    def _note(self, picture: Picture, timed: CaptureTime | None) -> None:
        """Keep the condition up to date. The caller holds the lock."""
        before = self._condition
        if timed is None:
            kind = {"corrupt": before.corrupt + 1} if picture.corrupt else {"untimed": before.untimed + 1}
            self._condition = replace(before, **kind)  # type: ignore[arg-type]
            return
        if timed.opened:
            self._stamps.clear()
        if picture.pts is not None:
            self._stamps.append(picture.pts)
        self._condition = replace(
            before,
            session=timed.session,
            last_tick=before.last_tick if timed.tick is None else timed.tick,
            width=picture.width,
            height=picture.height,
            clock=timed.clock,
            clock_offset_seconds=None if timed.clock_offset is None else timed.clock_offset / SECOND,
            last_error=None,
        )
