"""What a user must know of a camera before adding it: watch it for a while and report."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median

from pipeline.analysis.ticks import SECOND
from pipeline.camera.capture_time import CaptureTimes
from pipeline.camera.evidence import PACE_FAULT, delivered_rate
from pipeline.camera.picture import Picture
from pipeline.camera.sampling import stamps
from pipeline.camera.source import Source, open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.camera.waiting import Waiting, no_key_picture
from pipeline.errors import ActionwireError, CameraUnavailable
from pipeline.records.frames import Clock


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was measured on a camera, in seconds unless a name says otherwise; None where nothing could be measured."""

    source: str
    """Without credentials."""
    seconds: float
    opened_after: float
    first_picture_after: float | None
    codec: str
    width: int | None
    height: int | None
    fps: float | None
    key_interval: float | None
    """Longest distance between key pictures: how long a reconnect may wait for its first picture."""
    pictures: int
    clock: Clock | None
    clock_offset: float | None
    """The camera's clock minus this machine's; None without RTCP sender reports."""
    latency: float | None
    """From capture, by the camera's clock, to arrival here; median. None without sender reports."""
    jitter: float | None
    """Spread of the delays: 95th percentile minus the smallest."""
    longest_gap: float | None
    """Longest time without a picture."""
    corrupt: int
    untimed: int
    sessions: int
    """How many sessions there were: 1 is right, 2 when the first sender report came late."""
    fault: str | None
    """Why watching ended early."""
    stamped_fps: float | None = None
    """Frames a second by the time stamps, where `fps` is what came."""
    stamp_fault: str | None = None
    """Why time stamps are not used at the end, and times of arrival are."""
    counted_fps: float | None = None
    """The pace by which the pictures of a file without time stamps are counted."""
    unkeyed_seconds: float | None = None
    """How long video came without a key picture, and so without any picture."""

    @property
    def remarks(self) -> list[str]:
        """What deserves attention, with its remedy, most serious first."""
        return [text for found, text in _remarks(self) if found]

    def document(self) -> dict[str, object]:
        """For a machine to read."""
        return {**asdict(self), "remarks": self.remarks}


def _remarks(report: CheckReport) -> list[tuple[bool, str]]:
    offset, fps, keys = report.clock_offset, report.fps or 0.0, report.key_interval or 0.0
    live, by_arrival = report.clock is not None, report.clock == "arrival"
    share = report.corrupt / max(1, report.pictures)
    pace = (report.stamped_fps or fps) / fps - 1 if fps else 0.0
    return [
        (report.fault is not None, f"it failed while being watched: {report.fault}"),
        (
            report.pictures == 0 and report.unkeyed_seconds is not None,
            f"{no_key_picture(report.unkeyed_seconds or 0.0)}; watch for longer with --seconds to learn how far apart "
            "they are, up to ingest.key_picture_seconds are waited for",
        ),
        (
            report.pictures == 0 and report.unkeyed_seconds is None,
            "no picture came; check the stream's settings on the camera",
        ),
        (share > 0.01, f"{share:.0%} of the pictures are damaged; use tcp, or look for a weak network"),
        (
            by_arrival and offset is not None,
            f"its clock is off by {offset or 0:+.1f} s and is not used; set NTP on the camera",
        ),
        (
            by_arrival and offset is None and report.stamp_fault != "there are none",
            "it sends no RTCP sender reports: capture times are times of arrival",
        ),
        (
            live and abs(pace) > _PACE,
            f"its time stamps run {abs(pace):.0%} {'fast' if pace > 0 else 'slow'}".replace("%", " %")
            + f": they say {report.stamped_fps or 0:.1f} frames a second, {fps:.1f} come; times of arrival are used, "
            "set the frame rate on the camera to what it can send",
        ),
        (
            report.stamp_fault not in (None, PACE_FAULT),
            f"its time stamps are not used, since {report.stamp_fault}: capture times are times of arrival; "
            "look for an update of its firmware, or another stream of it (rtsp rather than http)",
        ),
        (
            report.counted_fps is not None,
            f"it has no time stamps: its pictures are counted at {report.counted_fps or 0:g} a second; put it into an "
            "MP4 with the right rate if that is wrong",
        ),
        (report.sessions > 2, f"capture times began anew {report.sessions - 1} times; its clock or stream is unsteady"),
        (
            live and keys > 4,
            f"key pictures are {keys:.1f} s apart: a reconnect loses as much; set 1 to 2 s on the camera",
        ),
        (0 < fps < 4, f"{fps:.1f} frames a second are few for actions; raise the frame rate on the camera"),
        (
            (report.height or 0) > 1080 and (report.width or 0) > 1080,
            "large pictures cost decoding and gain nothing here; use the camera's second stream",
        ),
    ]


_PACE = 0.1


@dataclass(slots=True)
class _Tally:
    """The counts so far."""

    capture_times: CaptureTimes
    pictures: int = 0
    corrupt: int = 0
    untimed: int = 0
    sessions: int = 0
    first: float | None = None
    last: float | None = None
    gap: float = 0.0
    times: list[tuple[int, int]] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    clock: Clock | None = None
    offset: int | None = None
    size: tuple[int, int] | None = None

    def add(self, picture: Picture, now: float, arrival: int) -> None:
        """Count one picture that came at `now` (monotonic seconds)."""
        self.pictures += 1
        self.first = now if self.first is None else self.first
        self.gap = max(self.gap, now - (self.last or now))
        self.last = now
        self.corrupt += picture.corrupt
        self.size = (picture.width, picture.height)
        timed = self.capture_times.of(stamps(picture, arrival))
        if timed is None:
            self.untimed += 1
            return
        pts = arrival if picture.pts is None else picture.pts
        self.sessions += timed.opened is not None
        self.clock, self.offset = timed.clock, timed.clock_offset
        if timed.opened in ("opened", "jump"):
            self.times.clear()
            self.keys.clear()
            self.delays.clear()
        self.times.append((pts, arrival))
        self.delays.append(arrival - pts)
        if picture.reference is not None:
            self.ages.append(arrival - picture.reference)
        if picture.key:
            self.keys.append(timed.capture)


def check(source: SourceSettings, seconds: float, tolerance_seconds: float = 5.0) -> CheckReport:
    """Watch a camera for some seconds and report. Blocks; a stall ends it within the source's limits.

    Raises CameraUnavailable, CameraRefused or AuthenticationError when it does not open; a fault after
    that is part of the report.
    """
    begun = time.monotonic()
    tally = _Tally(CaptureTimes("check", 1, round(tolerance_seconds * SECOND)))
    fault: ActionwireError | None = None
    with open_source(source) as opened:
        opened_after = time.monotonic() - begun
        waiting = Waiting(source, begun + opened_after)
        usable = 0.0
        try:
            for picture in opened.pictures():
                now = time.monotonic()
                if picture:
                    waiting.decoded(picture.key, usable := now)
                    tally.add(picture, now, picture.arrival if source.live else picture.pts or 0)
                if now - begun > seconds + opened_after:
                    break
                verdict = waiting.verdict(now, opened.packets, usable) if source.live else None
                if verdict not in (None, "key picture"):
                    fault = CameraUnavailable(
                        f"{source.where}: no picture for {now - max(usable, waiting.opened):.0f} s"
                    )
                    break
        except ActionwireError as error:
            fault = error
        return _report(source, opened, tally, begun, opened_after, fault)


def _report(
    source: SourceSettings,
    opened: Source,
    tally: _Tally,
    begun: float,
    opened_after: float,
    fault: ActionwireError | None,
) -> CheckReport:
    width, height = tally.size or (None, None)
    stamped = tally.times and tally.capture_times.fault != "there are none"
    span = tally.times[-1][0] - tally.times[0][0] if stamped else 0
    delays = sorted(tally.delays)
    spread = delays[len(delays) * 95 // 100] - delays[0] if delays and source.live else None
    seconds = time.monotonic() - begun
    return CheckReport(
        source=source.where,
        seconds=round(seconds, 2),
        opened_after=round(opened_after, 3),
        first_picture_after=None if tally.first is None else round(tally.first - begun, 3),
        codec=opened.codec,
        width=width,
        height=height,
        fps=_rounded(delivered_rate(tally.times)),
        key_interval=_longest(tally.keys),
        pictures=tally.pictures,
        clock=tally.clock if source.live else None,
        clock_offset=_in_seconds(tally.offset),
        latency=_in_seconds(median(tally.ages) if tally.ages else None),
        jitter=_in_seconds(spread),
        longest_gap=round(tally.gap, 3) if tally.pictures > 1 and source.live else None,
        corrupt=tally.corrupt,
        untimed=tally.untimed,
        sessions=tally.sessions,
        fault=None if fault is None else str(fault),
        stamped_fps=_rounded((len(tally.times) - 1) * SECOND / span if span > 0 else None),
        stamp_fault=tally.capture_times.fault,
        counted_fps=_rounded(opened.counted),
        unkeyed_seconds=round(seconds, 1) if opened.packets and not tally.pictures else None,
    )


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)


def _in_seconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / SECOND, 3)


def _longest(keys: Iterable[int]) -> float | None:
    """Longest distance between two neighbouring key pictures in seconds; None with fewer than two."""
    stamps = list(keys)
    distances = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    return _in_seconds(max(distances)) if distances else None
