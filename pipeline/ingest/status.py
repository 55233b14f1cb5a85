"""What the cameras topic is told of a camera, and when. Pure."""

from __future__ import annotations

from dataclasses import replace

from pipeline.camera.condition import Health
from pipeline.records.cameras import STOPPED, CameraStatus


def status_of(
    camera: str, health: Health, *, publisher: str, dropped: int, conflict: str | None, priority: int = 0
) -> CameraStatus:
    """The status that a camera's health makes."""
    offset = health.clock_offset_seconds
    return CameraStatus(
        camera=camera,
        condition=health.condition,
        since_ms=health.since_ms,
        session=health.session,
        fps=None if health.fps is None else round(health.fps, 2),
        width=health.width,
        height=health.height,
        codec=health.codec,
        clock=health.clock,
        clock_offset_seconds=None if offset is None else round(offset, 3),
        dropped=dropped,
        publisher=publisher,
        conflict=conflict,
        last_error=health.last_error,
        priority=priority,
    )


def worth_telling(before: CameraStatus | None, now: CameraStatus, age_seconds: float, period_seconds: float) -> bool:
    """True when a status is due: something but a measured figure has changed, or the last one is a period old."""
    if before is None or age_seconds >= period_seconds:
        return True
    figures = {"fps": None, "clock_offset_seconds": None, "dropped": 0}
    return replace(before, **figures) != replace(now, **figures)  # type: ignore[arg-type]


def farewell(status: CameraStatus, session: int | None, now_ms: int) -> CameraStatus:
    """The last status of a camera whose ingest process ends: offline, and nobody's.

    It names the newest session: workers know it, and the next process must begin after it whatever its clock says.
    """
    since = status.since_ms if status.condition == "offline" else now_ms
    return replace(status, condition="offline", since_ms=since, session=session, fps=None, last_error=STOPPED)
