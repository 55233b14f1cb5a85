"""Opening and decoding a video source with PyAV. Everything here may block: run it in a thread of its own.

Measured habits of FFmpeg 8 shape this file:

- `analyzeduration` of 0.1 s opens a camera in 0.2 s and loses nothing; `nobuffer` would lose the first key picture.
  Without parameter sets in its description FFmpeg reads on to the next key picture, unless `probesize` ends it.
- One thread, like slice threading, returns a picture with the packet that completes it; frame threading returns it one
  or two packets later. By default each decoder starts a thread per CPU, used or not.
- The first packet of an RTSP stream has no time stamp. The camera's wall clock arrives as side data `prft` after the
  first sender report.
- When a read times out, the parser first returns the picture that it held back. Only the second time-out is an error,
  so a picture after a silence of `stall_seconds` means a stall.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import av.error
import structlog
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from engines.display import shown_size, turn_of
from pipeline.analysis.ticks import SECOND
from pipeline.camera.errors import ENDED, translate
from pipeline.camera.file_time import running_on
from pipeline.camera.opening import opened
from pipeline.camera.picture import Picture
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import ActionwireError, CameraRefused, CameraUnavailable

log = structlog.get_logger(__name__)

_NO_TIMESTAMPS, _JOINS = 0x80, 0x200
"""AVFMT_NOTIMESTAMPS and AVFMT_TS_DISCONT of libavformat/avformat.h: FFmpeg invents the stamps of such a format, or
they may begin anew anywhere in it."""
_USUAL_RATE = 25
_RATES = range(1, 241)


class Source:
    """An open source. Use `open_source`."""

    def __init__(
        self,
        settings: SourceSettings,
        container: InputContainer,
        now: Callable[[], int],
        packets: Iterator[Packet[Any]],
    ) -> None:
        if not container.streams.video:
            raise CameraRefused(f"{settings.where}: it sends no video; choose a stream with video")
        self._settings = settings
        self._packets = packets
        self._now = now
        self._stream: VideoStream = container.streams.video[0]
        context = self._stream.codec_context
        context.copy_opaque = True
        if settings.live:
            context.thread_count = 1  # many cameras keep all CPUs busy by themselves
        else:
            context.thread_type = ThreadType.AUTO
        self.codec: str = context.name
        self.announced_fps: float | None = float(self._stream.average_rate) if self._stream.average_rate else None
        self.undecodable = 0
        """Packets that the decoder rejected."""
        self.packets = 0
        """Packets of the video."""
        self.counted: float | None = None
        """Pictures a second by which those of a file are counted that have no time stamp; None while all have one."""
        self._flags = container.format.flags
        self._converter = VideoReformatter()

    def pictures(self) -> Iterator[Picture | None]:
        """Every picture, in the order in which they are shown; None for a packet that yields none.

        A file ends. A live source that ends or stops raises CameraUnavailable; one that sends what cannot be decoded
        raises CameraRefused. No foreign exception leaves this.
        """
        fault: ActionwireError | None = None
        try:
            if self._settings.live:
                yield from timed_first(self._pictures())
            else:
                yield from running_on(self._pictures(), round(SECOND / self._rate), joins=bool(self._flags & _JOINS))
        except av.error.EOFError as error:
            fault = translate(error, self._settings.where, live=True)
        except av.error.FFmpegError as error:
            fault = translate(error, self._settings.where, live=self._settings.live)
        if fault is None and self._settings.live:
            fault = CameraUnavailable(f"{self._settings.where}: {ENDED}")
        if fault:
            try:
                raise fault
            finally:
                del fault  # see `opening.opened`

    def _pictures(self) -> Iterator[Picture | None]:
        for packet in self._packets:
            if packet.stream is not self._stream:  # the empty packets at a file's end all say index 0
                yield None
                continue
            self.packets += packet.size > 0
            cast(Any, packet).opaque = (self._now(), _reference(packet), packet.is_corrupt)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.undecodable += 1
                frames = []
            yield from map(self._picture, frames)
            if not frames:
                yield None

    def _picture(self, frame: VideoFrame) -> Picture:
        arrival, reference, corrupt = cast(Any, frame).opaque or (self._now(), None, False)
        pts = None
        if frame.pts is not None and frame.time_base is not None and not self._flags & _NO_TIMESTAMPS:
            pts = frame.pts * frame.time_base.numerator * SECOND // frame.time_base.denominator
        if pts is None and not self._settings.live and self.counted is None:
            self.counted = self._rate
            words = "pictures without a time stamp are counted; put the video into an MP4 if the rate is wrong"
            log.warning(words, source=self._settings.where, frames_a_second=self._rate)
        damaged = bool(corrupt or frame.is_corrupt)
        turn = turn_of(frame)
        width, height = shown_size(frame.width, frame.height, self._ratio, turn)
        return Picture(
            pts, reference, arrival, width, height, bool(frame.key_frame), damaged, frame, turn, self._converter
        )

    @property
    def _rate(self) -> float:
        """Pictures a second by which a file is counted."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate and _RATES.start <= rate < _RATES.stop else float(_USUAL_RATE)

    @property
    def _ratio(self) -> Fraction | None:
        """Width of a pixel by its height: the container's word of a file, the decoder's of a stream that may change."""
        inside, outside = self._stream.codec_context.sample_aspect_ratio, self._stream.sample_aspect_ratio
        return (inside or outside) if self._settings.live else (outside or inside)


def timed_first(pictures: Iterator[Picture | None]) -> Iterator[Picture | None]:
    """Give the first picture of an RTSP stream, which has no time stamp, the one that its successor implies.

    Where both carry the camera's clock, their distance is known. Otherwise the first picture stays untimed.
    """
    held: Picture | None = None
    for picture in pictures:
        if picture is not None and picture.pts is None and held is None:
            held, picture = picture, None
        elif picture is not None and held is not None:
            yield _dated(held, picture)
            held = None
        yield picture
    if held is not None:
        yield held


def _dated(first: Picture, second: Picture) -> Picture:
    if first.reference is None or second.reference is None or second.pts is None:
        return first
    distance = second.reference - first.reference
    return replace(first, pts=second.pts - distance) if 0 < distance < SECOND else first


def _reference(packet: Any) -> int | None:
    """Capture time in nanoseconds from the packet's producer reference time: int64 microseconds, int32 flags."""
    if not packet.has_sidedata("prft"):
        return None
    microseconds: int = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))[0]
    return microseconds * 1000


@contextmanager
def open_source(settings: SourceSettings, now: Callable[[], int] = time.time_ns) -> Iterator[Source]:
    """Connect to a source and close it at the end.

    now: the clock that stamps packets, in nanoseconds. Raises CameraUnavailable, CameraRefused or AuthenticationError,
    none of which holds credentials.
    """
    with opened(settings) as (container, packets):
        yield Source(settings, container, now, packets)
