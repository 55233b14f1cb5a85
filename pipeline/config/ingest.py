"""From camera to frames topic."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipeline.config.section import Seconds, Section, Unit


class IngestSettings(Section):
    """From camera to frames topic."""

    name: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}$", examples=["north"])
    """Needed where several ingests have settings files of their own: each removes absent cameras of its name alone."""
    short_side: Annotated[int, Unit("pixels")] = Field(default=256, ge=32, le=2160)
    """Frames are scaled down to this length of their shorter side, never up."""
    jpeg_quality: int = Field(default=85, ge=30, le=100)
    """JPEG quality of the published frames; higher is sharper and larger."""
    in_flight_seconds: Seconds = Field(default=3.0, gt=0)
    """How much of each camera's stream may wait for the broker; beyond that the oldest frame is dropped and counted."""
    open_seconds: Seconds = Field(default=15.0, gt=0)
    """How long a camera may take to answer when it is opened; one that runs on a battery has to wake first."""
    stall_seconds: Seconds = Field(default=5.0, gt=0)
    """A camera that delivers no frame for this long is reconnected."""
    key_picture_seconds: Seconds = Field(default=60.0, gt=0)
    """A new connection on which video comes is given so long for its first key picture, before which nothing shows."""
    backoff_seconds: Seconds = Field(default=0.5, gt=0)
    """Wait before the first attempt to reconnect; it grows with every attempt that fails."""
    backoff_max_seconds: Seconds = Field(default=30.0, gt=0)
    """Longest wait between two attempts to reconnect."""
    clock_tolerance_seconds: Seconds = Field(default=5.0, gt=0)
    """A camera clock that is off by more than this is ignored; the time of arrival counts instead."""
    lost_seconds: Seconds = Field(default=60.0, gt=0)
    """The session of a camera that is away for this long is ended."""
    status_seconds: Seconds = Field(default=5.0, gt=0)
    """Interval between two status records of a camera."""

    @model_validator(mode="after")
    def _stalled_before_lost(self) -> IngestSettings:
        if self.lost_seconds < self.stall_seconds:
            raise ValueError("lost_seconds is below stall_seconds: a camera would be ended before it is tried again")
        return self
