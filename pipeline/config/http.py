"""Where metrics and health are served."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.config.section import Section, Unit


class HttpSettings(Section):
    """Where /metrics, /live and /ready are served."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 listens on all."""
    worker_port: int | None = Field(default=9401, ge=0, le=65_535)
    """Port of a worker; 0 picks a free one, null serves nothing."""
    ingest_port: int | None = Field(default=9402, ge=0, le=65_535)
    """Port of ingest; 0 picks a free one, null serves nothing."""
    per_camera_metrics: Annotated[int, Unit("cameras")] = Field(default=0, ge=0)
    """At most this many cameras get metric series of their own; 0 for none."""
