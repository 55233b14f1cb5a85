"""One path of the server: what it plays, since when, and with which faults."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.local.rtsp.media import AccessUnit, Media
from pipeline.local.rtsp.protocol import Login
from pipeline.local.rtsp.rtp import CLOCK, WRAP


@dataclass(slots=True)
class Faults:
    """The faults of a path. Set a field while it plays; every field is read again for every packet."""

    stalled: bool = False
    """Send nothing. Afterwards everything that is due goes out at once, as after a stall of the network."""
    status: int | None = None
    """Answer every request but OPTIONS with this status."""
    status_of: str | None = None
    """The only request that `status` answers; None for all."""
    moved: str | None = None
    """The camera is at this URL now: DESCRIBE is answered with 302."""
    sound: bool = False
    """A track of sound is described before the video. Nothing comes on it but its reports, and they say 1970."""
    slow: Mapping[str, float] = field(default_factory=dict)
    """Seconds that a request takes, by its name."""
    silent: bool = False
    """Accept connections and never answer."""
    locked_after: int | None = None
    """After so many wrong logins every request is answered with 401, whatever login it brings."""
    reports: bool = True
    """Send RTCP sender reports."""
    report_delay: float = 0.0
    """Seconds from PLAY to the first report."""
    report_clock: float = 0.0
    """Seconds by which the wall clock of the reports is ahead."""
    rtp_jump: float = 0.0
    """Seconds by which the RTP clock has jumped ahead. The next report knows of it."""
    loss: float = 0.0
    """Share of RTP packets that are not sent."""
    reorder: float = 0.0
    """Share of RTP packets that swap places with their successor."""
    ssrc_changes: int = 0
    """How often the synchronisation source has changed."""
    restamp: Callable[[int, float], float] | None = None
    """Gives a picture, by its number in the connection and its seconds since time zero, the stamp of another instant:
    stray stamps, stamps that stand still, another pace."""
    described: bool = True
    """Give the parameter sets in the session description; they are in the stream before each key picture, too."""
    joined: float | None = None
    """Seconds after a key picture at which every client joins the stream; None: at the next key picture."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file on the time line: `media` plays in a loop from the wall-clock instant `zero` (seconds) on."""

    media: Media = field(repr=False)
    zero: float

    def start(self, instant: float) -> tuple[int, int]:
        """(pass, index) of the first key picture at or after an instant; before `zero`, of the very first one."""
        elapsed = (instant - self.zero) * CLOCK
        if elapsed <= 0:
            return 0, 0
        number, rest = divmod(elapsed, self.media.duration)
        later = [index for index, unit in enumerate(self.media.units) if unit.key and unit.time >= rest]
        return (int(number), later[0]) if later else (int(number) + 1, 0)

    def joined(self, instant: float, seconds: float) -> tuple[Segment, int]:
        """The same file, shifted so that an instant is `seconds` after its first key picture; the index of what is sent
        next."""
        later = [index for index, unit in enumerate(self.media.units) if unit.time >= seconds * CLOCK]
        return Segment(self.media, instant - seconds), later[0] if later else 0

    def capture(self, number: int, unit: AccessUnit) -> float:
        """Wall-clock instant (seconds) at which a picture of a pass was captured."""
        return self.zero + (number * self.media.duration + unit.time) / CLOCK

    def due(self, number: int, unit: AccessUnit) -> float:
        """Wall-clock instant (seconds) at which a picture of a pass is sent."""
        return self.zero + (number * self.media.duration + unit.send) / CLOCK


class Mount:
    """A camera. Its time line starts at `zero`, or when the first client plays it.

    passes: how often the file plays; None for ever. Time stamps run on from pass to pass.
    then: after the last pass the connection stays open but `silent`, or `close`s.
    first_timestamp: RTP time stamp of time zero; None draws one.
    seed: seeds loss and reordering.
    """

    def __init__(
        self,
        media: Media,
        *,
        zero: float | None = None,
        passes: int | None = None,
        then: Literal["silent", "close"] = "silent",
        login: Login | None = None,
        first_timestamp: int | None = None,
        seed: int = 0,
    ) -> None:
        self.passes = passes
        self.then = then
        self.login = login
        self.faults = Faults()
        self.wrong_logins = 0
        """How many requests brought a login that was wrong."""
        self.random = random.Random(seed)
        self._first = random.Random().randrange(WRAP) if first_timestamp is None else first_timestamp
        self._lock = threading.Lock()
        self._zero = zero
        self._media = media
        self._segment = None if zero is None else Segment(media, zero)

    @property
    def media(self) -> Media:
        """The file that plays now."""
        return self._media

    @property
    def zero(self) -> float | None:
        """Wall-clock instant (seconds since 1970) at which the time line starts; None until the first client plays."""
        return self._zero

    def start(self, instant: float) -> None:
        """Start the time line at this instant, unless it has started."""
        with self._lock:
            if self._zero is None:
                self._zero = instant
                self._segment = Segment(self._media, instant)

    def segment(self) -> Segment:
        """What plays now. Call `start` first."""
        with self._lock:
            if self._segment is None:
                raise RuntimeError("the time line of this path has not started: call start() first")
            return self._segment

    def switch(self, media: Media, instant: float) -> None:
        """Play another file from this instant on, in the same connections, as after a change of settings."""
        with self._lock:
            self._media = media
            if self._zero is not None:
                self._segment = Segment(media, instant)

    def timestamp(self, instant: float, jump: float) -> int:
        """RTP time stamp of a wall-clock instant, not wrapped."""
        return self._first + round((instant - (self._zero or 0.0) + jump) * CLOCK)
