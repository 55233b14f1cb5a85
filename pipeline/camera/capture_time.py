"""The session, the tick and the capture time of each picture (ARCHITECTURE 3a to 3c). Pure.

    arrival clock     PTS  |a---b---c---d---e|           the picture that travelled fastest (smallest arrival - PTS)
                    arrival  a----b-----c-d---e          fixes the line; a late burst (c, d) keeps its spacing
                    capture  a---b---c---d---e

    rtcp clock      capture = PTS + (camera's wall clock - PTS), from the camera's sender reports

    no stamps       capture = arrival, while the time stamps are worth nothing (see evidence.py)

Six things end a session and begin a newer one: a reconnect, a change of size, a change of clock, a jump of the time
stamps, a step of the camera's clock, and, on the arrival clock, the first drift of time stamps against arrival. A stray
stamp costs its own picture, and stamps that are worth nothing cost none. All times are nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipeline.analysis.ticks import SECOND, tick_at
from pipeline.camera.evidence import LIMIT, PACE_FAULT, Evidence, Fault
from pipeline.records.frames import Clock

Reason: TypeAlias = Literal["opened", "size", "jump", "drift", "step", "clock"]

_REPORTED = SECOND // 50
"""A report that moves the camera's clock against its time stamps by less is exact."""
_MOVES_WITHIN = 120 * SECOND
"""Two steps in one direction, or three moves of a second together, within this time come from the stamps' pace."""
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
        self._moves: list[tuple[int, int]] = []
        self._capture = 0
        self._evidence = Evidence()

    @property
    def fault(self) -> Fault | None:
        """Why the time stamps are not used now, and times of arrival are; None while they are used."""
        return self._evidence.fault

    def of(self, picture: Stamps) -> CaptureTime | None:
        """The capture time of the next picture; None when its time stamp is missing or stray."""
        found = self._evidence.note(picture.pts, picture.arrival, by_arrival=self._clock != "rtcp")
        if found == "stray" or (picture.pts is None and not self.fault):
            return None
        pts = picture.arrival if picture.pts is None else picture.pts
        reason: Reason | None = "opened" if self._size is None else None
        if reason is None and (picture.width, picture.height) != self._size:
            reason = "size"
        stepped = self._follow_reference(pts, picture.reference, picture.arrival)
        line = self._evidence.smallest
        offset = (
            None if self._reference is None else self._reference - (picture.arrival - pts if line is None else line)
        )
        clock: Clock = "rtcp" if self._trusted(offset) else "arrival"
        if found == "drift" and clock == self._clock == "rtcp":
            found = None  # capture times do not come from the line; only the measurement of delays began anew
        reason = found or reason
        if reason is None and clock != self._clock:
            reason = "clock"
        if reason is None and stepped and clock == "rtcp":
            reason = "step"
        self._size, self._clock = (picture.width, picture.height), clock
        capture = self._place(pts, picture.arrival)
        if reason:
            self._session = next_session(self._session, picture.arrival)
            self._sequence, self._last_tick = 0, None
        return self._on_grid(capture, clock, offset, reason)

    def _place(self, pts: int, arrival: int) -> int:
        """The capture time, by the clock in use."""
        if self._clock == "rtcp" and self._reference is not None:
            return pts + self._reference
        if self._evidence.smallest is not None:
            self._capture = pts + self._evidence.smallest
        else:  # a decoder that reorders pictures gives their arrivals out of order
            self._capture = max(self._capture, arrival)
        return self._capture

    def _on_grid(self, capture: int, clock: Clock, offset: int | None, reason: Reason | None) -> CaptureTime:
        tick = tick_at(capture, self._rate, self._camera)
        sequence = self._sequence
        due = self._last_tick is None or tick > self._last_tick
        if due:
            self._last_tick = tick
            self._sequence += 1
        return CaptureTime(self._session, reason, tick if due else None, sequence, capture, clock, offset)

    def _follow_reference(self, pts: int, reference: int | None, arrival: int) -> bool:
        """Keep the camera's clock minus PTS; True when it stepped. Between two reports the older one holds."""
        if reference is None:
            return False
        before, self._reference = self._reference, reference - pts
        if before is None:
            return False
        moved = self._reference - before
        self._recent_moves(moved, arrival)
        return self._clock == "rtcp" and abs(moved) > LIMIT

    def _recent_moves(self, moved: int, arrival: int) -> None:
        """Distrust time stamps whose pace the reports put right again and again. One step is a clock that was set."""
        if abs(moved) < _REPORTED:
            return
        moves = [one for one in self._moves if (one[0] > 0) == (moved > 0) and arrival - one[1] < _MOVES_WITHIN]
        self._moves = [*moves, (moved, arrival)]
        steps = sum(abs(one) > LIMIT for one, _ in self._moves)
        if steps > 1 or (len(self._moves) > 2 and abs(sum(one for one, _ in self._moves)) > LIMIT):
            self._evidence.distrust(PACE_FAULT)

    def _trusted(self, offset: int | None) -> bool:
        if offset is None or self.fault:
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
        stepped = self._base is not None and abs(base - self._base) > LIMIT
        if self._base is None or stepped:
            self._base = base
        return self._base + monotonic, stepped
