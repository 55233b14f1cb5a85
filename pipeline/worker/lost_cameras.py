"""Finds cameras whose frames stopped; a marker in their own partition then ends them (ARCHITECTURE 5c). Pure.

Ingest writes the end marker of a camera that it lost. If ingest itself dies, nobody does, and events would stay open
for ever. So the owner of the partition writes the marker, once the camera sent nothing for long enough and everything
was processed that the partition held when that was noticed. The marker applies only if session and last tick are still
the camera's, so a frame that arrives in the meantime wins. An ingest that lives but cannot reach the broker begins a
newer session within half that time, so its frames count when they arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.analysis.sessions import Stream
from pipeline.records.frames import EndMarker
from pipeline.records.wire import Partition


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Cameras of one partition that may be lost.

    They are lost if everything that the partition held when they were first suspected lies below `position`.
    """

    position: int
    """Offset of the next record to process."""
    markers: tuple[EndMarker, ...]


@dataclass(slots=True)
class LostCameras:
    """When the last frame of each camera was processed. Times are monotonic seconds."""

    limit: float
    """Seconds without a frame after which a camera is suspected."""
    _last_frame: dict[Partition, dict[str, float]] = field(default_factory=dict)
    _opened: dict[Partition, float] = field(default_factory=dict)

    def open(self, partition: Partition, now: float) -> None:
        """Begin with a partition: every camera in it gets the whole limit."""
        self._last_frame[partition] = {}
        self._opened[partition] = now

    def processed(self, partition: Partition, cameras: Iterable[str], now: float) -> None:
        """Note that frames of these cameras were processed."""
        self._last_frame.setdefault(partition, {}).update(dict.fromkeys(cameras, now))

    def suspect(
        self, partition: Partition, position: int, streams: Mapping[str, Stream], now: float
    ) -> Suspicion | None:
        """The cameras that sent nothing for too long; None: there are none."""
        last_frame, opened = self._last_frame.get(partition, {}), self._opened.get(partition, now)
        markers = tuple(
            EndMarker(camera, stream.session, stream.last_tick, "lost")
            for camera, stream in sorted(streams.items())
            if not stream.ended and now - last_frame.get(camera, opened) >= self.limit
        )
        return Suspicion(position, markers) if markers else None
