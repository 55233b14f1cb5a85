"""The actions to watch for, and when a score becomes an event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, model_validator

from pipeline.config.section import Score, Seconds, Section, Unit
from pipeline.records.fields import LABEL_ID, LONGEST_SECONDS, LONGEST_TEXT, MOST_WINDOWS


class EventSettings(Section):
    """When a score becomes an event; null means: as the bundle was calibrated."""

    enter: Score | None = Field(default=None, gt=0, lt=1)
    """Score that a window must reach for an event to start."""
    exit: Score | None = Field(default=None, gt=0, lt=1)
    """An open event ends when its score stays below this; at most `enter`."""
    confirm: Annotated[int, Unit("windows")] | None = Field(default=None, ge=1, le=MOST_WINDOWS)
    """Windows in a row that must reach `enter` before an event starts."""
    backtrack_seconds: Seconds | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    """How far before the first of these windows an event may have begun, with the score at or above `exit` throughout.
    """
    min_seconds: Seconds | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    """How long the score must stay at or above `enter` before an event starts."""
    merge_seconds: Seconds | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    """How long the score must stay below `exit` before an event ends; a shorter gap is bridged."""
    cooldown_seconds: Seconds | None = Field(default=None, ge=0, le=LONGEST_SECONDS)
    """Time after an event in which its label starts no other."""
    max_seconds: Seconds | None = Field(default=None, gt=0, le=LONGEST_SECONDS)
    """An event that lasts this long is ended."""

    @model_validator(mode="after")
    def _exit_at_most_enter(self) -> EventSettings:
        if self.enter is not None and self.exit is not None and self.exit > self.enter:
            raise ValueError(_contradiction(self.enter, self.exit))
        return self


class LabelSettings(EventSettings):
    """An action to watch for: its text, and where its events differ from section `events`."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT, examples=["a person falls down"])
    """The action in plain words. A label that is only a text may be written as that text."""
    id: str | None = Field(default=None, pattern=LABEL_ID)
    """Stable name of the label in events; null makes one from the text."""
    group: str | None = None
    """Labels of one group compete with each other; the same group on every label is ActionCLIP's softmax."""
    cameras: tuple[str, ...] = ("*",)
    """Ids or globs of the cameras that are watched for this label."""


def label_or_text(value: Any) -> Any:
    """What a label is read from: a text stands for a label that has only that text."""
    return {"text": value} if isinstance(value, str) else value


def check_merged(events: EventSettings, labels: Iterable[LabelSettings]) -> None:
    """Make sure that every label agrees with what it takes from `events`.

    Raises ValueError that names the label, `enter` and `exit`, and where each of the two comes from.
    """
    for number, label in enumerate(labels):
        enter = events.enter if label.enter is None else label.enter
        exit = events.exit if label.exit is None else label.exit
        if enter is not None and exit is not None and exit > enter:
            of_enter, of_exit = (" of events" if own is None else " of the label" for own in (label.enter, label.exit))
            raise ValueError(f"labels.{number}, {label.text!r}: {_contradiction(enter, exit, of_enter, of_exit)}")


def _contradiction(enter: float, exit: float, of_enter: str = "", of_exit: str = "") -> str:
    return (
        f"exit {exit:g}{of_exit} is above enter {enter:g}{of_enter}, so an event would end as it starts; "
        "lower exit or raise enter"
    )
