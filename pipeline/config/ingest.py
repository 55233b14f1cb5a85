"""From camera to frames topic."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from pipeline.config.section import Seconds, Section, Unit


class IngestSettings(Section):
    """From camera to frames topic."""

    name: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}$", examples=["north"])
    """Needed where several ingests have settings files of their own: each removes absent cameras of its name alone."""
    short_side: Annotated[int, Unit("pixels")] = Field(default=256, ge=32, le=2160)
    """Frames are scaled down to this length of their shorter side, never up."""
    fit: str = Field(default="off", pattern=r"^(auto|off|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$")
    """What frames are scaled down to after that: `auto`, WIDTHxHEIGHT, or `off`.

    `auto` takes what the bundle of the workers takes, which they report when they start and when they take up another
    bundle: frames become several times smaller, for the broker and for the workers. They take its shape too, so a
    person sees them squashed. WIDTHxHEIGHT keeps the shape and takes the smallest frame that covers this size. With
    `auto` scores differ in the last digits from those of larger frames, and so may the thresholds that fit.
    """
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

    @field_validator("fit", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """YAML takes a bare `off` for false."""
        return "off" if value is False else value

    @model_validator(mode="after")
    def _fit_within_short_side(self) -> IngestSettings:
        if "x" in self.fit and min(map(int, self.fit.split("x"))) > self.short_side:
            raise ValueError(
                f"fit {self.fit} is larger than short_side {self.short_side}, to which frames are scaled first; "
                "raise short_side as well"
            )
        return self

    @model_validator(mode="after")
    def _stalled_before_lost(self) -> IngestSettings:
        if self.lost_seconds < self.stall_seconds:
            raise ValueError("lost_seconds is below stall_seconds: a camera would be ended before it is tried again")
        return self
