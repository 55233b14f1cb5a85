"""The session, the tick and the capture time of each picture (ARCHITECTURE 3a to 3c). Pure.

    arrival clock     PTS  |a---b---c---d---e|           the picture that travelled fastest (smallest arrival - PTS)
                    arrival  a----b-----c-d---e          fixes the line; a late burst (c, d) keeps its spacing
                    capture  a---b---c---d---e

    rtcp clock      capture = PTS + (camera's wall clock - PTS), from the camera's sender reports

Six things end a session and begin a newer one: a reconnect, a change of size, a change of clock, a jump of the time
stamps, a step of the camera's clock, and, on the arrival clock, a drift of time stamps against arrival. All times are
nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipeline.analysis.ticks import SECOND, tick_at
from pipeline.records.frames import Clock

Reason: TypeAlias = Literal["opened", "size", "jump", "drift", "step", "clock"]

_LIMIT = SECOND
"""A larger disagreement of time stamps and clocks starts a new session."""
_WINDOW = 5 * SECOND
_REGAIN = 0.8
"""A camera's clock that was too far off is used again within this share of the tolerance, so it cannot flap."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """The time stamps and the size of a picture as it leaves the decoder."""

    pts: int | None
    """Presentation time stamp; None for the first picture of an RTSP stream without sender reports."""
    reference: int | None
    """Capture time by the camera's own clock, from its sender reports; None before the first one."""
    arrival: int
    """When its packet arrived, by ingest's clock."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class CaptureTime:
    """When a picture was captured, and the session and tick that this puts it in."""

    session: int
    """Wall time in ms; strictly increasing."""
    opened: Reason | None
    """Why a session began with this picture."""
    tick: int | None
    """The tick that this picture answers; None when an earlier picture has answered it."""
    sequence: int
    """How many pictures of the session have answered a tick before this one."""
    capture: int
    clock: Clock
    clock_offset: int | None
    """The camera's clock minus ingest's clock; None without sender reports."""


class _RecentMinimum:
    """Smallest value of the last five to ten seconds."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._current: int | None = None
        self._previous: int | None = None

    def add(self, now: int, value: int) -> int | None:
        """Add a value and return the smallest recent one; None before a whole window has passed."""
        if self._since is None:
            self._since = now
        if now - self._since >= _WINDOW:
            self._since, self._previous, self._current = now, self._current, None
        self._current = value if self._current is None else min(self._current, value)
        return None if self._previous is None else min(self._previous, self._current)


class CaptureTimes:
    """Capture times of one camera, picture after picture.

    rate: frames per second of the tick grid. tolerance: a camera clock that is further off is not used.
    after: sessions begin later than this one (ms).
    """

    def __init__(self, camera: str, rate: int, tolerance: int, after: int = 0) -> None:
        self._camera = camera
        self._rate = rate
        self._tolerance = tolerance
        self._session = after
        self._sequence = 0
        self._last_tick: int | None = None
        self.restart()

    def restart(self, after: int = 0) -> None:
        """Begin anew, as after a reconnect: the next picture opens a session, and nothing is known of the clocks.

        after: sessions begin later than this one too (ms).
        """
        self._session = max(self._session, after)
        self._size: tuple[int, int] | None = None
        self._clock: Clock | None = None
        self._reference: int | None = None
        self._forget_line()

    def _forget_line(self) -> None:
        self._pts: int | None = None
        self._smallest: int | None = None
        self._recent = _RecentMinimum()

    def of(self, picture: Stamps) -> CaptureTime | None:
        """The capture time of the next picture; None when it carries no time stamp."""
        if picture.pts is None:
            return None
        reason: Reason | None = "opened" if self._size is None else None
        if reason is None and (picture.width, picture.height) != self._size:
            reason = "size"
        broken = self._line(picture.pts, picture.arrival)
        step = self._follow_reference(picture.pts, picture.reference)
        offset = None if self._reference is None else self._reference - (self._smallest or 0)
        clock: Clock = "rtcp" if self._trusted(offset) else "arrival"
        if broken == "drift" and clock == self._clock == "rtcp":
            broken = None  # capture times do not come from the line; only the measurement of delays began anew
        reason = broken or reason
        if reason is None and clock != self._clock:
            reason = "clock"
        if reason is None and step and clock == "rtcp":
            reason = "step"
        self._size, self._clock = (picture.width, picture.height), clock
        capture = picture.pts + ((self._reference if clock == "rtcp" else self._smallest) or 0)
        if reason:
            self._session = next_session(self._session, picture.arrival)
            self._sequence, self._last_tick = 0, None
        return self._on_grid(capture, clock, offset, reason)

    def _on_grid(self, capture: int, clock: Clock, offset: int | None, reason: Reason | None) -> CaptureTime:
        tick = tick_at(capture, self._rate, self._camera)
        sequence = self._sequence
        due = self._last_tick is None or tick > self._last_tick
        if due:
            self._last_tick = tick
            self._sequence += 1
        return CaptureTime(self._session, reason, tick if due else None, sequence, capture, clock, offset)

    def _line(self, pts: int, arrival: int) -> Reason | None:
        """Follow the line of arrival over PTS; the reason when it broke."""
        delay = arrival - pts
        reason: Reason | None = None
        if self._smallest is not None and self._pts is not None:
            # Neither is a jump: a stall brings a late burst, a gap brings a later time stamp that arrives later.
            ahead = pts - self._pts > _LIMIT and delay < self._smallest - _LIMIT
            if ahead or pts - self._pts < -_LIMIT:
                reason = "jump"
        recent = self._recent.add(arrival, delay)
        if reason is None and recent is not None and self._smallest is not None and recent > self._smallest + _LIMIT:
            reason = "drift"
        if reason:
            self._forget_line()
        self._pts = pts
        self._smallest = delay if self._smallest is None else min(self._smallest, delay)
        return reason

    def _follow_reference(self, pts: int, reference: int | None) -> bool:
        """Keep the camera's clock minus PTS; True when it stepped. Between two reports the older one holds."""
        if reference is None:
            return False
        before, self._reference = self._reference, reference - pts
        return before is not None and abs(self._reference - before) > _LIMIT

    def _trusted(self, offset: int | None) -> bool:
        if offset is None:
            return False
        limit = self._tolerance * _REGAIN if self._clock == "arrival" else self._tolerance
        return abs(offset) <= limit


def next_session(previous: int, now: int) -> int:
    """Id of the next session: wall time in ms, always larger than the one before. `now` is nanoseconds."""
    return max(now // 1_000_000, previous + 1)


class SteadyClock:
    """Wall-clock time that runs evenly: it follows the monotonic clock and reports steps of the wall clock."""

    def __init__(self) -> None:
        self._base: int | None = None

    def instant(self, wall: int, monotonic: int) -> tuple[int, bool]:
        """(nanoseconds since 1970, True when somebody moved the wall clock by over a second since the last call)."""
        base = wall - monotonic
        stepped = self._base is not None and abs(base - self._base) > _LIMIT
        if self._base is None or stepped:
            self._base = base
        return self._base + monotonic, stepped
