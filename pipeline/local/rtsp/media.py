"""A video file as the access units of an H.264 stream, ready to be packetised."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame

from pipeline.errors import ConfigurationError
from pipeline.local.rtsp.rtp import CLOCK

_START_CODE = re.compile(b"\x00\x00\x00?\x01")
_SPS, _PPS, _DELIMITER = 7, 8, 9
_LONGEST_GOP = 4.0


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture. Times are in units of 1/90000 s from the first picture."""

    time: int
    """When the picture is shown: its capture time."""
    send: int
    """When it can be sent: never before its capture, even if other pictures depend on it."""
    key: bool
    nals: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Media:
    """A file in memory."""

    units: tuple[AccessUnit, ...] = field(repr=False)
    """In decoding order; the first is a key picture. Every key picture carries its parameter sets."""
    duration: int
    """Length of one pass in units of 1/90000 s: the next pass starts here."""
    sps: bytes = field(repr=False)
    pps: bytes = field(repr=False)


def load_media(file: Path, *, longest_gop: float = _LONGEST_GOP) -> Media:
    """Read a video file. H.264 is taken as it is; anything else is encoded to H.264 once.

    So is H.264 with more than `longest_gop` seconds from one key picture to the next. Whoever joins a camera waits for
    the next key picture, and cameras send one every second or two.
    Raises ConfigurationError when the file cannot be read or holds no video.
    """
    try:
        with av.open(f"file:{file}") as container:
            if not container.streams.video:
                raise ConfigurationError(f"{file} holds no video; name a file with a video track")
            turns = _turns(container)
        with av.open(f"file:{file}") as container:
            pictures = None if turns else _copied(container)
        if pictures is None or _longest_gop(pictures) > longest_gop * CLOCK:
            with av.open(f"file:{file}") as container, av.open(_encoded(container, turns), "r") as encoded:
                pictures = _copied(encoded)
    except (av.error.FFmpegError, OSError) as error:
        raise ConfigurationError(f"cannot play {file}: {error.strerror or error}; try another file") from error
    if not pictures:
        raise ConfigurationError(f"{file} holds no picture that could be played; try another file")
    return _media(pictures)


def _copied(container: InputContainer) -> list[tuple[int, bool, list[bytes]]] | None:
    """(time, key, NAL units) of every coded picture; None unless this is H.264 with time stamps."""
    stream = container.streams.video[0]
    if stream.codec_context.name != "h264":
        return None
    unpack = BitStreamFilterContext("h264_mp4toannexb", stream)
    pictures: list[tuple[int, bool, list[bytes]]] = []
    for packet in container.demux(stream):
        last = packet.size == 0  # before the filter empties the packet
        for part in unpack.filter(None if last else packet):
            if part.pts is None or part.time_base is None:
                return None
            nals = [nal for nal in split_nals(bytes(part)) if nal[0] & 0x1F != _DELIMITER]
            if nals and (pictures or part.is_keyframe):
                pictures.append((round(part.pts * part.time_base * CLOCK), part.is_keyframe, nals))
        if last:
            break
    return pictures


def _longest_gop(pictures: list[tuple[int, bool, list[bytes]]]) -> int:
    times = [time for time, key, _ in pictures if key]
    times.append(max((time for time, _, _ in pictures), default=0))
    return max((later - earlier for earlier, later in pairwise(times)), default=0)


def split_nals(stream: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B byte stream, without start codes and trailing zeros. Empty ones are left out."""
    for part in _START_CODE.split(stream):
        nal = part.rstrip(b"\0")
        if nal:
            yield nal


def _media(pictures: list[tuple[int, bool, list[bytes]]]) -> Media:
    sets: dict[int, bytes] = {}
    first = min(time for time, _, _ in pictures)
    units: list[AccessUnit] = []
    send = 0
    for time, key, nals in pictures:
        sets.update({nal[0] & 0x1F: nal for nal in nals if nal[0] & 0x1F in (_SPS, _PPS)})
        if key and not any(nal[0] & 0x1F == _SPS for nal in nals):
            nals = [sets[kind] for kind in (_SPS, _PPS) if kind in sets] + nals
        send = max(send, time - first)
        units.append(AccessUnit(time - first, send, key, tuple(nals)))
    if _SPS not in sets or _PPS not in sets:
        raise ConfigurationError("the H.264 stream has no parameter sets; encode the file again")
    shown = sorted(unit.time for unit in units)
    step = shown[-1] - shown[-2] if len(shown) > 1 else CLOCK // 25
    return Media(tuple(units), shown[-1] + max(step, 1), sets[_SPS], sets[_PPS])


def _turns(container: InputContainer) -> int:
    """Quarter turns, counter-clockwise, by which a phone's pictures are shown: a camera has no display matrix."""
    first = next(container.decode(video=0), None)
    return round(first.rotation / 90) % 4 if first else 0


def _encoded(container: InputContainer, turns: int) -> io.BytesIO:
    """The video of a container as H.264, upright, with a key picture each second."""
    source = container.streams.video[0]
    rate = Fraction(source.average_rate or source.guessed_rate or 25).limit_denominator(1001)
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        stream = output.add_stream("libx264", rate, options={"preset": "veryfast", "tune": "zerolatency"})
        width, height = source.width & ~1, source.height & ~1
        stream.width, stream.height = (height, width) if turns % 2 else (width, height)
        if (ratio := source.sample_aspect_ratio) and ratio > 0:
            stream.codec_context.sample_aspect_ratio = 1 / ratio if turns % 2 else ratio
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.codec_context.gop_size = max(1, round(rate))
        last = -CLOCK
        for number, frame in enumerate(container.decode(source)):
            picture = frame.reformat(width, height, "yuv420p")
            if turns:
                shown = np.rot90(picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False), turns)
                picture = VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24").reformat(
                    format="yuv420p"
                )
            time = number / rate if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            stamp = round(time * CLOCK)
            last = stamp if stamp > last else last + round(CLOCK / rate)  # some files repeat a time stamp
            picture.pts, picture.time_base = last, Fraction(1, CLOCK)
            picture.pict_type = PictureType.NONE  # otherwise a picture of MJPEG would become a key picture
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    target.seek(0)
    return target
