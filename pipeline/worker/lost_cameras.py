"""Cameras that fell silent: found here, ended by a marker in their own partition (ARCHITECTURE 5c). Pure.

Ingest writes the end marker of a camera that it lost. When ingest itself dies nobody does, and events would stay open
for ever. So the owner of the partition says it, once the camera was silent long enough and everything was processed
that the partition held when that was noticed. The marker applies only if session and last tick are still the camera's,
so a frame under way wins. An ingest that lives and cannot reach the broker begins a newer session in half that time:
its frames count when they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.analysis.sessions import Stream
from pipeline.records.frames import EndMarker
from pipeline.records.wire import Partition


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Cameras of a partition that are lost if what was there when they were suspected lies before `position`."""

    position: int
    markers: tuple[EndMarker, ...]


@dataclass(slots=True)
class Silence:
    """When each camera was last heard. Times are monotonic seconds."""

    limit: float
    _heard: dict[Partition, dict[str, float]] = field(default_factory=dict)
    _opened: dict[Partition, float] = field(default_factory=dict)

    def open(self, partition: Partition, now: float) -> None:
        """A partition was put on the path: nobody in it has been silent yet."""
        self._heard[partition] = {}
        self._opened[partition] = now

    def hear(self, partition: Partition, cameras: Iterable[str], now: float) -> None:
        """Frames of these cameras were processed."""
        self._heard.setdefault(partition, {}).update(dict.fromkeys(cameras, now))

    def suspect(
        self, partition: Partition, position: int, streams: Mapping[str, Stream], now: float
    ) -> Suspicion | None:
        """The cameras that have been silent for too long; None where there are none."""
        heard, opened = self._heard.get(partition, {}), self._opened.get(partition, now)
        markers = tuple(
            EndMarker(camera, stream.session, stream.last_tick, "lost")
            for camera, stream in sorted(streams.items())
            if not stream.ended and now - heard.get(camera, opened) >= self.limit
        )
        return Suspicion(position, markers) if markers else None
