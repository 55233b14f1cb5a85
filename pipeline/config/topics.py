"""Names and sizes of the topics."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pipeline.config.section import Section, Unit

Topic: TypeAlias = Literal["frames", "events", "cameras", "control", "examples", "state", "dead"]


class TopicsSettings(Section):
    """Names and sizes of the topics."""

    namespace: str = Field(default="actionwire", pattern=r"^[a-zA-Z0-9-]{1,100}$")
    """Prefix of every topic name; deployments that share a cluster need one each."""
    partitions: Annotated[int, Unit("partitions")] = Field(default=64, ge=1, le=4096)
    """Partitions of the frames topic, the most workers that can share the load; never changed after creation."""
    replication: Annotated[int, Unit("replicas")] = Field(default=1, ge=1)
    """Brokers that keep a copy of every record."""
    frames_replication: Annotated[int | None, Unit("replicas")] = Field(default=None, ge=1)
    """Brokers that keep a copy of every frame; as `replication` where it is not given."""
    frames_retention_minutes: Annotated[int, Unit("minutes")] = Field(default=30, ge=1)
    """How long frames are kept."""
    events_retention_days: Annotated[int, Unit("days")] = Field(default=7, ge=1)
    """How long events are kept."""

    def name(self, topic: Topic) -> str:
        """Full name of a topic, for example `actionwire.frames`."""
        return f"{self.namespace}.{topic}"
