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
from pipeline.camera.evidence import Fault, delivered_rate
from pipeline.camera.picture import Picture
from pipeline.camera.sampling import SampledFrame, sampled, stamps
from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.camera.waiting import Waiting
from pipeline.errors import ActionwireError, AuthenticationError, CameraUnavailable, ConfigurationError, mask
from pipeline.records.cameras import CameraCondition
from pipeline.records.wire import iso

log = structlog.get_logger(__name__)

_HEALTHY_SECONDS = 10.0
"""A connection that lasts this long makes the waits short again."""

_PASS_SECONDS = 1.0
"""Shortest pass of a looping file. A still image would otherwise open sessions without a pause."""


_NOTHING = "no picture for {:g} s; is it overloaded or frozen?"
_UNUSABLE = "all pictures of {:g} s were damaged or had no time stamp; use tcp, or look for a weak network"


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
        self._stamp_fault: Fault | None = None
        self._progress = time.monotonic()
        self._picture_at = time.monotonic()
        """When the last usable picture came; a reconnect does not move it."""
        self._times: deque[tuple[int, int]] = deque(maxlen=100)
        """Time stamp and arrival of the last usable pictures of the session."""

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
        self._fault(self._stall(_NOTHING))
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
            return replace(self._condition, fps=delivered_rate(self._times), silent_seconds=silent)

    def _stall(self, words: str) -> _Stalled:
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
        login = isinstance(error, AuthenticationError)
        wait = self._backoff.refused() if login else self._backoff.next(hopeless=isinstance(error, ConfigurationError))
        self._fault(error)
        if login:
            self._note_refusals(wait)
        self._progress = time.monotonic() + wait
        attempt.stopped.wait(wait)
        self._progress = time.monotonic()

    def _fault(self, error: ActionwireError) -> None:
        reason = mask(str(error))
        with self._lock:
            before = self._condition
            again = (before.last_error or "").startswith(reason) and not self._connected
            self._connected = False
            stalls = before.stalls + isinstance(error, _Stalled)
            self._condition = replace(before, last_error=reason, reconnects=before.reconnects + 1, stalls=stalls)
        (log.debug if again else log.warning)("camera lost", camera=self.name, reason=reason)

    def _note_refusals(self, wait: float) -> None:
        """Add to the error how often the login was refused, and when it is tried again."""
        instant = iso((time.time_ns() + round(wait * SECOND)) // SECOND * SECOND)
        words = f"; refused {self._backoff.refusals} times in a row, next try at {instant}"
        with self._lock:
            self._condition = replace(self._condition, last_error=f"{self._condition.last_error}{words}")

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
                self._times.clear()
                self._connected = True
                self._condition = replace(self._condition, codec=source.codec)
            self._backoff.accepted()
            self._progress = time.monotonic()
            pace = None if self._source.live else _Pace()
            waiting = Waiting(self._source, self._progress)
            rejected = 0
            for picture in source.pictures():
                if attempt.stopped.is_set():
                    return
                self._progress = time.monotonic()
                self._judge(waiting, source.packets)
                if picture is not None:
                    waiting.decoded(picture.key, self._progress)
                    self._take(attempt, picture, pace)
                    if self._picture_at - waiting.opened > _HEALTHY_SECONDS:
                        self._backoff.reset()
                elif source.undecodable > rejected:
                    rejected = source.undecodable
                    self._damaged()

    def _judge(self, waiting: Waiting, packets: int) -> None:
        """Raise when this connection should be given up; say what it waits for."""
        verdict = waiting.verdict(self._progress, packets, self._picture_at) if self._source.live else None
        if verdict == "key picture":
            reason = f"{self._source.where}: {waiting.words(self._progress)}"
            with self._lock:
                self._condition = replace(self._condition, last_error=reason)
        elif verdict is not None:
            words = {"nothing": _NOTHING, "unusable": _UNUSABLE, "no key picture": waiting.words(self._progress)}
            raise self._stall(words[verdict])

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
                self._times.append((arrival if picture.pts is None else picture.pts, arrival))
            self._note(picture, timed)
            self._note_stamps()
        if timed and timed.opened:
            log.info("camera session", camera=self.name, session=timed.session, reason=timed.opened, clock=timed.clock)
        if timed and timed.tick is not None:
            self._deliver(sampled(self.name, self._rate, timed, timed.tick, picture, self._source.short_side))

    def _note_stamps(self) -> None:
        """Log when the time stamps lose or regain their worth."""
        before, fault = self._stamp_fault, self._capture_times.fault
        self._stamp_fault = fault
        if fault and fault != before:
            words = "time stamps not used, times of arrival are; look for an update of the camera's firmware"
            log.warning(words, camera=self.name, reason=fault)
        elif before and not fault:
            log.info("time stamps used again", camera=self.name)

    def _note(self, picture: Picture, timed: CaptureTime | None) -> None:
        """Keep the condition up to date. The caller holds the lock."""
        before = self._condition
        if timed is None:
            kind = {"corrupt": before.corrupt + 1} if picture.corrupt else {"untimed": before.untimed + 1}
            self._condition = replace(before, **kind)  # type: ignore[arg-type]
            return
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
