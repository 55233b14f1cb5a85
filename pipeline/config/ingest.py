"""From camera to frames topic."""

from __future__ import annotations

from pydantic import (
    Field,
    model_validator,
)

from pipeline.config.section import _Frozen


class IngestSettings(_Frozen):
    """From camera to frames topic."""

    short_side: int = Field(default=256, ge=32, le=2160)
    """Frames are scaled down to this many pixels on their shorter side; never up."""
    jpeg_quality: int = Field(default=85, ge=30, le=100)
    in_flight_seconds: float = Field(default=3.0, gt=0)
    """Frames waiting for the broker per camera, in seconds of stream; beyond that the oldest is dropped and counted."""
    open_seconds: float = Field(default=5.0, gt=0)
    stall_seconds: float = Field(default=5.0, gt=0)
    """A camera that gives no frame for this long is reconnected."""
    backoff_seconds: float = Field(default=0.5, gt=0)
    backoff_max_seconds: float = Field(default=30.0, gt=0)
    clock_tolerance_seconds: float = Field(default=5.0, gt=0)
    """A camera's clock further off than this is not used."""
    lost_seconds: float = Field(default=60.0, gt=0)
    """A camera that is away for this long is ended."""
    status_seconds: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _stalled_before_lost(self) -> IngestSettings:
        if self.lost_seconds < self.stall_seconds:
            raise ValueError("lost_seconds is below stall_seconds: a camera would be ended before it is tried again")
        return self
