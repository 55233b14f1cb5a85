"""Where metrics and health are served."""

from __future__ import annotations

from pydantic import (
    Field,
)

from pipeline.config.section import _Frozen


class HttpSettings(_Frozen):
    """Where /metrics, /live and /ready are served. Port 0 picks a free one, None serves nothing."""

    host: str = "127.0.0.1"
    worker_port: int | None = Field(default=9401, ge=0, le=65_535)
    ingest_port: int | None = Field(default=9402, ge=0, le=65_535)
    per_camera_metrics: int = Field(default=0, ge=0)
    """Per-camera series for at most this many cameras; 0 for none."""
