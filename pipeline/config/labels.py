"""The actions to watch for, and when a score becomes an event."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from pydantic import (
    Field,
)

from pipeline.config.section import _Frozen
from pipeline.records.fields import LABEL_ID, LONGEST_SECONDS, LONGEST_TEXT, MOST_WINDOWS


class EventSettings(_Frozen):
    """When a score becomes an event. None means: as the bundle was calibrated."""

    enter: float | None = Field(default=None, gt=0, lt=1)
    exit: float | None = Field(default=None, gt=0, lt=1)
    confirm: int | None = Field(default=None, ge=1, le=MOST_WINDOWS)
    backtrack_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    min_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    merge_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    cooldown_seconds: float | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    max_seconds: float | None = Field(default=None, gt=0, le=LONGEST_SECONDS)


class LabelSettings(EventSettings):
    """One action to watch for: its text, and where its events differ from the defaults."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)
    id: str | None = Field(default=None, pattern=LABEL_ID)
    """Stable name of the label in events; made from the text when absent."""
    group: str | None = None
    """Labels of one group compete with each other; `all` on every label is ActionCLIP's softmax."""
    cameras: tuple[str, ...] = ("*",)
    """Ids or globs of the cameras that are watched for this label."""


def _label(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


def watches(patterns: tuple[str, ...], camera: str) -> bool:
    """True when one of a label's ids or globs names this camera."""
    return any(fnmatchcase(camera, pattern) for pattern in patterns)
