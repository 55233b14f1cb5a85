"""Video files, decoded at a fixed sampling rate: upright, in the shape of the scene, damaged packets left out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from engines.display import shown, shown_size, turn_of
from trainer.errors import VideoError

Pictures = npt.NDArray[np.uint8]

FORM = 3
"""Version of what is yielded for the same file. It rises with every change, so that no cache keeps what was before."""

_GUESSED_RATE = 25.0  # of a stream that states neither time stamps nor a rate
_JUMP_BACK = 0.5  # seconds; time stamps that go back further than this begin anew


@dataclass
class Damage:
    """How many packets and pictures of a file could not be used."""

    count: int = 0


@dataclass(frozen=True)
class Probe:
    """What a look at a file tells."""

    seconds: float | None
    """Its length by its own header; None where it states none."""


def probe(path: Path) -> Probe:
    """Open a file and decode its first picture. Raises VideoError with the reason where there is none."""
    try:
        with _open(path) as container:
            stream = _video(path, container)
            if next(_frames(stream, container, Damage()), None) is None:
                raise VideoError(path, "it holds no picture that can be decoded")
            return Probe(_length(stream, container))
    except (OSError, ValueError) as error:  # av.error.FFmpegError is one of them, by its kind
        raise _unreadable(path, error) from error


def frame_rate(path: Path) -> float:
    """Frames per second of a file, as its container says. Raises VideoError."""
    try:
        with _open(path) as container:
            stream = _video(path, container)
            found = stream.average_rate or stream.guessed_rate
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not found:
        raise VideoError(path, "it does not say how many frames a second has")
    return float(found)


def read_clip(
    path: Path, rate: int, phase: float = 0.0, damage: Damage | None = None
) -> Iterator[tuple[float, Pictures]]:
    """Decode a video and yield (seconds, RGB picture) of the first frame at or after each tick (k + phase) / rate.

    Pictures are uint8 [h, w, 3], upright and with square pixels. Frames before the first tick are skipped. Times count
    from the first frame; without time stamps they follow the stream's rate, and where stamps begin anew they go on.
    A packet that cannot be decoded, and a picture that was damaged, is left out and counted in `damage`.
    Raises VideoError for what is no video.
    """
    damage = Damage() if damage is None else damage
    due = 0
    try:
        with _open(path) as container:
            stream, converter = _video(path, container), VideoReformatter()
            for seconds, frame in _timed(stream, _frames(stream, container, damage)):
                if seconds + 1e-6 >= (due + phase) / rate:
                    yield seconds, _picture(frame, stream, converter)
                    due = int(np.floor(seconds * rate - phase + 1e-6)) + 1
    except (OSError, ValueError) as error:
        if isinstance(error, VideoError) or not isinstance(error, av.error.FFmpegError | OSError):
            raise
        raise _unreadable(path, error) from error


def _open(path: Path) -> InputContainer:
    # Without `file:` FFmpeg takes a name such as 10:15:02.mp4 for a protocol.
    return av.open(f"file:{path}")


def _video(path: Path, container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise VideoError(path, "it holds no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _frames(stream: VideoStream, container: InputContainer, damage: Damage) -> Iterator[VideoFrame]:
    """The good frames of a stream in the order in which they are shown."""
    seen = False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            if not seen:
                raise
            damage.count += 1  # the file ends here
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damage.count += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                damage.count += 1
                continue
            seen = True
            yield frame


def _timed(stream: VideoStream, frames: Iterator[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their seconds since the first one. They never go back."""
    step = 1.0 / float(stream.average_rate or stream.guessed_rate or _GUESSED_RATE)
    last: float | None = None
    origin = 0.0
    for frame in frames:
        if last is None:
            origin, seconds = frame.time or 0.0, 0.0
        elif frame.time is None:
            seconds = last + step
        else:
            seconds = frame.time - origin
            if seconds < last - _JUMP_BACK:
                origin, seconds = frame.time - last - step, last + step
        last = seconds
        yield seconds, frame


def _picture(frame: VideoFrame, stream: VideoStream, converter: VideoReformatter) -> Pictures:
    turn = turn_of(frame)
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return shown(frame, turn, *shown_size(frame.width, frame.height, ratio, turn), converter)


def _length(stream: VideoStream, container: InputContainer) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


_REASONS: dict[int, str] = {
    errno.ENOENT: "there is no such file",
    errno.EACCES: "it may not be read; check its permissions",
    errno.EISDIR: "it is a folder",
}


def _unreadable(path: Path, error: Exception) -> VideoError:
    if isinstance(error, VideoError):
        return error
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        return VideoError(path, "it is no video, or was cut off before its index was written")
    number = error.errno if isinstance(error, OSError) else None
    return VideoError(path, _REASONS.get(number or 0, f"it cannot be decoded as a video: {error}"))
