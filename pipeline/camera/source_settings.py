"""Where a video source is and how to read it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from pipeline.camera.errors import place_of

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where a source is and how to read it."""

    url: str = field(repr=False)
    """rtsp://..., the path of a file, or /dev/videoN. Not in the repr: it may hold a password."""
    transport: Literal["tcp", "udp"] = "tcp"
    open_seconds: float = 15.0
    stall_seconds: float = 5.0
    short_side: int = 256
    """Sampled pictures are scaled down to this many pixels on the shorter side, never up."""
    key_picture_seconds: float = 60.0
    """How long a connection on which video comes may wait for its first key picture."""

    @property
    def where(self) -> str:
        """The source for messages, without credentials."""
        return place_of(self.url)

    @property
    def live(self) -> bool:
        """False for a file, which may end and has no clock."""
        return bool(self.scheme) or self.url.startswith("/dev/")

    @property
    def scheme(self) -> str:
        """The scheme of a URL in small letters; empty for a path."""
        scheme, separator, _ = self.url.partition("://")
        return scheme.lower() if separator and _SCHEME.fullmatch(scheme) else ""

    @property
    def address(self) -> str:
        """The source as FFmpeg takes it: a path is a path, whatever colons are in its name."""
        if self.scheme:
            return self.scheme + self.url[len(self.scheme) :]
        return self.url if self.url.startswith("/dev/") else f"file:{self.url}"
