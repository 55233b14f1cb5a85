"""The statuses that this process publishes: what they say, and when one is due. Pure."""

from __future__ import annotations

from dataclasses import replace

from pipeline.camera.condition import Condition
from pipeline.records.cameras import STOPPED, CameraStatus


def status_of(
    camera: str,
    condition: Condition,
    *,
    publisher: str,
    dropped: int,
    conflict: str | None,
    priority: int = 0,
    ingest: str | None = None,
) -> CameraStatus:
    """The status that a camera's condition makes."""
    offset = condition.clock_offset_seconds
    return CameraStatus(
        camera=camera,
        condition=condition.state,
        since_ms=condition.since_ms,
        session=condition.session,
        fps=None if condition.fps is None else round(condition.fps, 2),
        width=condition.width,
        height=condition.height,
        codec=condition.codec,
        clock=condition.clock,
        clock_offset_seconds=None if offset is None else round(offset, 3),
        dropped=dropped,
        publisher=publisher,
        conflict=conflict,
        last_error=condition.last_error,
        priority=priority,
        ingest=ingest,
    )


def is_due(before: CameraStatus | None, now: CameraStatus, age_seconds: float, period_seconds: float) -> bool:
    """True when a status must be published: the last one is a period old, or more than a measured figure differs."""
    if before is None or age_seconds >= period_seconds:
        return True
    figures = {"fps": None, "clock_offset_seconds": None, "dropped": 0}
    return replace(before, **figures) != replace(now, **figures)  # type: ignore[arg-type]


def farewell(status: CameraStatus, session: int | None, now_ms: int) -> CameraStatus:
    """The last status of a camera whose ingest process ends: offline, and published by nobody.

    It names the newest session. Workers know that session, so the next process must open a later one, whatever its
    clock says.
    """
    since = status.since_ms if status.condition == "offline" else now_ms
    return replace(status, condition="offline", since_ms=since, session=session, fps=None, last_error=STOPPED)
