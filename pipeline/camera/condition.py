"""The condition of a camera: what is known of it at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.records.cameras import CameraCondition
from pipeline.records.frames import Clock


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of a camera at one moment. Counts run from the start of the process."""

    state: CameraCondition = "offline"
    since_ms: int = 0
    """When the camera entered this state."""
    session: int | None = None
    """The newest session, even if an earlier connection or process opened it."""
    last_tick: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    clock: Clock | None = None
    clock_offset_seconds: float | None = None
    reconnects: int = 0
    stalls: int = 0
    corrupt: int = 0
    """Pictures damaged in transit, and packets that could not be decoded."""
    untimed: int = 0
    """Pictures with a stray time stamp, or with none: the first of a connection, until its first sender report."""
    silent_seconds: float = 0.0
    """Seconds since the last usable picture, over all connections, or since the start."""
    ended: bool = False
    """A file that has played to its end."""
    last_error: str | None = None
