"""Which cameras are this process's, and who else publishes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from pipeline.errors import ConfigurationError
from pipeline.records.cameras import STOPPED, CameraStatus


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`: the cameras are split over processes by a hash of their id."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`, counted from 0, for example 0/2 and 1/2. Raises ConfigurationError."""
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not found or int(found[1]) >= int(found[2]):
            raise ConfigurationError(f"--shard {text!r} is not i/n with i below n; for two processes use 0/2 and 1/2")
        return cls(int(found[1]), int(found[2]))

    def owns(self, camera: str) -> bool:
        """True when this part publishes the camera. Any two processes agree, whatever their cameras."""
        return int.from_bytes(blake2b(camera.encode(), digest_size=8).digest(), "big") % self.count == self.index


@dataclass(frozen=True, slots=True)
class Heard:
    """A status of the cameras topic and when it was said, by our clock."""

    status: CameraStatus
    at_ms: int


def rival(heard: Iterable[Heard], publisher: str, now_ms: int, fresh_ms: int) -> str | None:
    """Another process that publishes the same camera at the moment; `heard` holds its newest status by publisher.

    Of several the first by name. A process that said goodbye (see `statuses.farewell`) is none.
    """
    others = {
        one.status.publisher
        for one in heard
        if one.status.publisher != publisher and now_ms - one.at_ms <= fresh_ms and one.status.last_error != STOPPED
    }
    return min(others, default=None)
