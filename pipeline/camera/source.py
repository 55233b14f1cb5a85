"""Opening and decoding a video source with PyAV. Everything here may block: run it in a thread of its own.

Measured habits of FFmpeg 8 shape this file:

- `analyzeduration` of 0.1 s opens a camera in 0.2 s and loses nothing; `nobuffer` would lose the first key picture.
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
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import av
import av.error
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.analysis.ticks import SECOND
from pipeline.camera.errors import ENDED, place_of, translate
from pipeline.errors import ActionwireError, CameraRefused, CameraUnavailable

av.logging.set_level(None)  # FFmpeg's own log lines would show URLs


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where a source is and how to read it."""

    url: str = field(repr=False)
    """rtsp://..., the path of a file, or /dev/videoN. Not in the repr: it may hold a password."""
    transport: Literal["tcp", "udp"] = "tcp"
    open_seconds: float = 5.0
    stall_seconds: float = 5.0
    short_side: int = 256
    """Sampled pictures are scaled down to this many pixels on the shorter side, never up."""

    @property
    def where(self) -> str:
        """The source for messages, without credentials."""
        return place_of(self.url)

    @property
    def live(self) -> bool:
        """False for a file, which may end and has no clock."""
        return "://" in self.url or self.url.startswith("/dev/")


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, not yet converted."""

    pts: int | None
    """Nanoseconds on the stream's own time line; None where it is unknown."""
    reference: int | None
    """Capture time in nanoseconds since 1970 by the camera's clock."""
    arrival: int
    """When the packet arrived, by the clock that `open_source` was given."""
    width: int
    height: int
    key: bool
    corrupt: bool
    """Damaged in transit, or decoded from a damaged picture."""
    frame: VideoFrame = field(repr=False)

    def rgb(self, short_side: int) -> NDArray[np.uint8]:
        """The picture as uint8[height, width, 3], scaled in the same step (area filter)."""
        width, height = scaled(self.width, self.height, short_side)
        image = self.frame.to_ndarray(format="rgb24", width=width, height=height, interpolation=Interpolation.AREA)
        return image.astype(np.uint8, copy=False)


def scaled(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(width, height) with the shorter side scaled down to `short_side`; a smaller picture keeps its size."""
    shorter = min(width, height)
    if shorter <= short_side:
        return width, height
    return max(1, round(width * short_side / shorter)), max(1, round(height * short_side / shorter))


class Source:
    """An open source. Use `open_source`."""

    def __init__(self, settings: SourceSettings, container: InputContainer, now: Callable[[], int]) -> None:
        if not container.streams.video:
            raise CameraRefused(f"{settings.where}: it sends no video; choose a stream with video")
        self._settings = settings
        self._container = container
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

    def pictures(self) -> Iterator[Picture | None]:
        """Every picture, in the order in which they are shown; None for a packet that yields none.

        A file ends. A live source that ends or stops raises CameraUnavailable; one that sends what cannot be decoded
        raises CameraRefused. No foreign exception leaves this.
        """
        fault: ActionwireError | None = None
        try:
            yield from timed_first(self._pictures())
        except av.error.EOFError as error:
            fault = translate(error, self._settings.where, live=True)
        except av.error.FFmpegError as error:
            fault = translate(error, self._settings.where, live=self._settings.live)
        if fault is None and self._settings.live:
            fault = CameraUnavailable(f"{self._settings.where}: {ENDED}")
        if fault:
            raise fault

    def _pictures(self) -> Iterator[Picture | None]:
        for packet in self._container.demux():
            if packet.stream is not self._stream:  # the empty packets at a file's end all say index 0
                yield None
                continue
            cast(Any, packet).opaque = (self._now(), _reference(packet), packet.is_corrupt)
            try:
                frames = cast(list[VideoFrame], packet.decode())
            except av.error.InvalidDataError:
                self.undecodable += 1
                frames = []
            yield from map(self._picture, frames)
            if not frames:
                yield None

    def _picture(self, frame: VideoFrame) -> Picture:
        arrival, reference, corrupt = cast(Any, frame).opaque or (self._now(), None, False)
        pts = None
        if frame.pts is not None and frame.time_base is not None:
            pts = frame.pts * frame.time_base.numerator * SECOND // frame.time_base.denominator
        damaged = bool(corrupt or frame.is_corrupt)
        return Picture(pts, reference, arrival, frame.width, frame.height, bool(frame.key_frame), damaged, frame)


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
    options, kind = _options(settings)
    fault: ActionwireError | None = None
    container: InputContainer | None = None
    try:
        timeout = (settings.open_seconds, settings.stall_seconds) if settings.live else None
        container = av.open(settings.url, format=kind, options=options, timeout=timeout)
    except av.error.FFmpegError as error:
        fault = translate(error, settings.where, live=settings.live)
    if fault or container is None:  # not raised in the handler: the foreign exception and its URL would come along
        raise fault or CameraUnavailable(f"{settings.where}: it could not be opened")
    try:
        yield Source(settings, container, now)
    finally:
        container.close()


def _options(settings: SourceSettings) -> tuple[dict[str, str], str | None]:
    if settings.url.startswith(("rtsp://", "rtsps://")):
        return {"rtsp_transport": settings.transport, "analyzeduration": "100000"}, None
    if settings.url.startswith("/dev/"):
        return {}, "v4l2"
    return {}, None
