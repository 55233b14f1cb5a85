"""A source opened with PyAV: options, formats and the words for what went wrong. Everything here may block."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import av
import av.error
from av.container import InputContainer
from av.packet import Packet

from pipeline.camera.errors import refusal, translate, unanswered
from pipeline.camera.rtsp_login import best
from pipeline.camera.rtsp_relay import relayed
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import ActionwireError, CameraUnavailable

av.logging.set_level(None)  # FFmpeg's own log lines would show URLs


@contextmanager
def opened(settings: SourceSettings) -> Iterator[tuple[InputContainer, Iterator[Packet[Any]]]]:
    """The container of a source and its packets, closed at the end. Raises as `open_source` does."""
    with ExitStack() as stack:
        found, fault = _first_try(settings)
        if fault and fault.second:
            found, fault = _second_try(stack, settings, fault)
        if found is None:  # not raised in a handler: the foreign exception and its URL would come along
            try:
                raise fault.error if fault else CameraUnavailable(f"{settings.where}: it could not be opened")
            finally:
                del fault  # it refers to the error, which refers to this call: both would wait for the collector
        stack.callback(found[0].close)
        yield found


_Opened: TypeAlias = "tuple[InputContainer, Iterator[Packet[Any]]]"


@dataclass(frozen=True, slots=True)
class _Fault:
    error: ActionwireError
    second: bool = False
    """A second try through the relay may play, or tell more."""
    login: bool = False
    """The login was refused."""


def _first_try(settings: SourceSettings) -> tuple[_Opened | None, _Fault | None]:
    begun = time.monotonic()
    try:
        return _open(settings, settings.address), None
    except av.error.FFmpegError as error:
        answered = isinstance(error, av.error.HTTPClientError | av.error.HTTPServerError)
        if settings.live and not answered and time.monotonic() - begun >= settings.open_seconds:
            return None, _Fault(unanswered(settings.where, settings.open_seconds))
        rtsp = settings.scheme in ("rtsp", "rtsps")
        refused = isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError)
        return None, _Fault(translate(error, settings.where, live=settings.live), answered and rtsp, refused)


def _second_try(stack: ExitStack, settings: SourceSettings, first: _Fault) -> tuple[_Opened | None, _Fault | None]:
    try:
        relay = stack.enter_context(relayed(settings, tried=first.login))
    except OSError:
        return None, first
    try:
        return _open(settings, relay.url), None
    except av.error.FFmpegError:
        heard = relay.heard
        names = [] if best(heard.offered) else [one.name for one in heard.offered]
        return None, _Fault(refusal(settings.where, heard.status, heard.reason, names) or first.error)


def _open(settings: SourceSettings, address: str) -> _Opened:
    options, kind = _options(settings)
    timeout = (settings.open_seconds, settings.stall_seconds) if settings.live else None
    container = av.open(address, format=kind, options=options, timeout=timeout)
    packets: Iterator[Packet[Any]] = container.demux()
    if container.format.name != "mpjpeg":
        return container, packets
    # JPEGs over HTTP, whatever headers the camera gives to each. This demuxer of FFmpeg refuses parts without
    # `Content-Type: image/jpeg`; the other one finds pictures by their markers, each once the next one begins.
    try:
        return container, itertools.chain([next(packets)], packets)
    except av.error.InvalidDataError:
        container.close()
        container = av.open(address, format="mjpeg", options={"probesize": "2048"}, timeout=timeout)
        return container, container.demux()


def _options(settings: SourceSettings) -> tuple[dict[str, str], str | None]:
    if settings.scheme in ("rtsp", "rtsps"):
        return {"rtsp_transport": settings.transport, "analyzeduration": "100000", "probesize": "2048"}, None
    if settings.url.startswith("/dev/"):
        return {}, "v4l2"
    return {}, None
