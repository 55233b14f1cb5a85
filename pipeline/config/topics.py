"""Names and sizes of the topics."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from pipeline.config.section import _Frozen


class TopicsSettings(_Frozen):
    """Names and sizes of the topics. Partition counts are never changed after creation."""

    namespace: str = Field(default="actionwire", pattern=r"^[a-zA-Z0-9-]{1,100}$")
    partitions: int = Field(default=64, ge=1, le=4096)
    replication: int = Field(default=1, ge=1)
    frames_replication: int | None = Field(default=None, ge=1)
    """Brokers that keep a copy of every frame; as `replication` where it is not given."""
    frames_retention_minutes: int = Field(default=30, ge=1)
    events_retention_days: int = Field(default=7, ge=1)

    def name(self, topic: Literal["frames", "events", "cameras", "control", "state", "dead"]) -> str:
        """Full name of a topic, for example `actionwire.frames`."""
        return f"{self.namespace}.{topic}"
