"""What the time stamps of a connection are worth, picture after picture (ARCHITECTURE 3b and 3c). Pure.

    stray     a stamp that leads or lags by more than a second; it costs its own picture
                PTS  0 40 80 3600120 160 200
    jump      several strays in a row that agree on another line
                PTS  0 40 80 | 3600120 3600160 3600200
    drift     for five seconds all pictures arrived more than a second behind the line
    unusable  stamps that stand still, run at a steady wrong pace, agree on nothing or are missing: arrival counts until
              they keep time again

All times are nanoseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from pipeline.analysis.ticks import SECOND

LIMIT = SECOND
"""A larger disagreement of time stamps and clocks starts a new session."""

Finding: TypeAlias = Literal["stray", "jump", "drift"]
Fault: TypeAlias = Literal["they stand still", "they run at another pace", "they agree on nothing", "there are none"]
PACE_FAULT: Final = "they run at another pace"

_WINDOW = 5 * SECOND
_AGREE = 3
"""So many strays in a row that agree on a line make a jump."""
_CHAOS = 2 * SECOND
"""Time stamps that agree on nothing for so long are none."""
_JUMPS, _JUMPS_WITHIN = 3, 60 * SECOND
"""Time stamps that jump so often within this time agree on nothing either."""
_RECENT = 6
_MOVING = 3
"""Of the last six pictures so many must have moved the time stamp, since some cameras stamp two fields alike."""
_SLOW, _STEADY = 0.9, 0.1
"""Stamps that gain less than `_SLOW` seconds in each of four seconds, at a pace that is `_STEADY`, are paced wrongly.
A stall or a congested network is not so even. Against the camera's own clock ten seconds must say so."""
_PACES = 4
_MEASURED, _BURST = 3 * SECOND, SECOND // 2
_SOUND, _SOUND_PACES = 0.03, 10
"""Stamps whose pace was right within this share in each of ten seconds are believed again."""


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


class Pace:
    """Seconds that the time stamps gain in each second of arrival."""

    def __init__(self) -> None:
        self._from: tuple[int, int] | None = None
        self._paces: deque[float] = deque(maxlen=_SOUND_PACES)

    def add(self, pts: int, arrival: int) -> None:
        """Note a picture."""
        if self._from is None:
            self._from = pts, arrival
        span = arrival - self._from[1]
        if span >= SECOND:
            self._paces.append((pts - self._from[0]) / span)
            self._from = pts, arrival

    def wrong(self, seconds: int) -> bool:
        """The last seconds, at most ten, were slow, and all alike."""
        last = list(self._paces)[-seconds:]
        return len(last) == seconds and max(last) < _SLOW and max(last) - min(last) < _STEADY

    @property
    def sound(self) -> bool:
        """The time stamps have kept time for a while."""
        return len(self._paces) == _SOUND_PACES and all(abs(one - 1) <= _SOUND for one in self._paces)


class Evidence:
    """Follows the line of arrival over PTS of one connection.

    `smallest` is its smallest arrival - PTS. `fault` says why the time stamps are not used; None while they are.
    """

    def __init__(self) -> None:
        self.smallest: int | None = None
        self.fault: Fault | None = None
        self._pts: int | None = None
        self._taken_at: int | None = None
        self._strays: list[tuple[int, int]] = []
        self._raw: int | None = None
        self._moved: deque[bool] = deque(maxlen=_RECENT)
        self._untimed = 0
        self._drifts = 0
        self._jumps: deque[int] = deque(maxlen=_JUMPS)
        self._forget_line()

    def _forget_line(self) -> None:
        self.smallest = self._pts = None
        self._taken = 0
        self._recent = _RecentMinimum()
        self._pace = Pace()

    def note(self, pts: int | None, arrival: int, *, by_arrival: bool) -> Finding | None:
        """Judge the next picture. by_arrival: capture times come from the line, not from the camera's clock."""
        if pts is None:
            self._untimed += 1
            if self._untimed >= _AGREE:
                self.distrust("there are none")
            return None
        self._untimed = 0
        self._moved.append(pts != self._raw)
        self._raw = pts
        stands = len(self._moved) == _RECENT and sum(self._moved) < _MOVING
        if self.fault:
            self._regain(pts, arrival, stands)
            return None
        if stands:
            self.distrust("they stand still")
            return None
        if self._odd(pts, arrival):
            return self._stray(pts, arrival)
        self._strays.clear()
        return self._follow(pts, arrival, by_arrival)

    def distrust(self, fault: Fault) -> None:
        """Use the time stamps no more, until they keep time again."""
        self.fault = fault
        self._strays.clear()
        self._forget_line()

    def _regain(self, pts: int, arrival: int, stands: bool) -> None:
        self._pace.add(pts, arrival)
        if self._pace.sound and not stands:
            self.fault = None
            self._forget_line()
            self._seed(pts, arrival)

    def _odd(self, pts: int, arrival: int) -> bool:
        """True for a stamp off the line. A stall brings a late burst, and a gap a later stamp that arrives later."""
        if self.smallest is None or self._pts is None:
            return False
        ahead = pts - self._pts > LIMIT and arrival - pts < self.smallest - LIMIT
        return ahead or pts - self._pts < -LIMIT

    def _stray(self, pts: int, arrival: int) -> Finding | None:
        if self._strays:
            before_pts, before_arrival = self._strays[-1]
            if not -LIMIT <= pts - before_pts <= arrival - before_arrival + LIMIT:
                self._strays.clear()
        self._strays.append((pts, arrival))
        if len(self._strays) < _AGREE:
            if self._taken_at is not None and arrival - self._taken_at > _CHAOS and len(self._moved) == _RECENT:
                self.distrust("they agree on nothing")
            return "stray"
        confirmed = self._taken >= _AGREE  # else the line was itself the stray: the first picture of a connection
        self._jumps.append(arrival)
        if len(self._jumps) == _JUMPS and arrival - self._jumps[0] < _JUMPS_WITHIN:
            self.distrust("they agree on nothing")
            return None
        self._strays.clear()
        self._forget_line()
        self._seed(pts, arrival)
        return "jump" if confirmed else None

    def _follow(self, pts: int, arrival: int, by_arrival: bool) -> Finding | None:
        recent = self._recent.add(arrival, arrival - pts)
        self._pace.add(pts, arrival)
        if self._pace.wrong(_PACES if by_arrival else _SOUND_PACES):
            self.distrust(PACE_FAULT)
            return None
        drifted = recent is not None and self.smallest is not None and recent > self.smallest + LIMIT
        if drifted:
            self._drifts += by_arrival
            if self._drifts > 1:
                self.distrust(PACE_FAULT)
                return None
            self._forget_line()
        self._seed(pts, arrival)
        return "drift" if drifted else None

    def _seed(self, pts: int, arrival: int) -> None:
        delay = arrival - pts
        self._pts, self._taken_at = pts, arrival
        self._taken += 1
        self.smallest = delay if self.smallest is None else min(self.smallest, delay)


def delivered_rate(times: Sequence[tuple[int, int]]) -> float | None:
    """Pictures a second of (PTS, arrival); None for fewer than two.

    Time stamps are even where arrivals are not, so they tell the rate, unless arrivals of some seconds contradict.
    """
    if len(times) < 2:
        return None
    if times[-1][1] - times[0][1] > _MEASURED:  # what waited for the connection to be read came in one burst
        times = [one for one in times if one[1] - times[0][1] > _BURST]
    stamped, arrived = (times[-1][one] - times[0][one] for one in (0, 1))
    if stamped <= 0 or (arrived > _MEASURED and abs(stamped / arrived - 1) > 1 - _SLOW):
        stamped = arrived
    return (len(times) - 1) * SECOND / stamped if stamped > 0 else None
