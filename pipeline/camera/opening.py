"""A source opened with PyAV: options, formats and the words for what went wrong. Everything here may block."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet

from pipeline.camera.errors import translate
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import ActionwireError, CameraUnavailable

av.logging.set_level(None)  # FFmpeg's own log lines would show URLs


@contextmanager
def opened(settings: SourceSettings) -> Iterator[tuple[InputContainer, Iterator[Packet[Any]]]]:
    """The container of a source and its packets, closed at the end. Raises as `open_source` does."""
    fault: ActionwireError | None = None
    found: tuple[InputContainer, Iterator[Packet[Any]]] | None = None
    try:
        found = _open(settings)
    except av.error.FFmpegError as error:
        fault = translate(error, settings.where, live=settings.live)
    if fault or found is None:  # not raised in the handler: the foreign exception and its URL would come along
        raise fault or CameraUnavailable(f"{settings.where}: it could not be opened")
    try:
        yield found
    finally:
        found[0].close()


def _open(settings: SourceSettings) -> tuple[InputContainer, Iterator[Packet[Any]]]:
    options, kind = _options(settings)
    timeout = (settings.open_seconds, settings.stall_seconds) if settings.live else None
    container = av.open(settings.address, format=kind, options=options, timeout=timeout)
    packets: Iterator[Packet[Any]] = container.demux()
    if container.format.name != "mpjpeg":
        return container, packets
    # JPEGs over HTTP, whatever headers the camera gives to each. This demuxer of FFmpeg refuses parts without
    # `Content-Type: image/jpeg`; the other one finds pictures by their markers, each once the next one begins.
    try:
        return container, itertools.chain([next(packets)], packets)
    except av.error.InvalidDataError:
        container.close()
        container = av.open(settings.address, format="mjpeg", options={"probesize": "2048"}, timeout=timeout)
        return container, container.demux()


def _options(settings: SourceSettings) -> tuple[dict[str, str], str | None]:
    if settings.scheme in ("rtsp", "rtsps"):
        return {"rtsp_transport": settings.transport, "analyzeduration": "100000"}, None
    if settings.url.startswith("/dev/"):
        return {}, "v4l2"
    return {}, None
