"""The state topic: what a worker must remember of a camera (ARCHITECTURE 5).

A label that is at rest has no state. One that is not is in one of three phases:

    at rest --- score >= enter ---> Streak --- confirmed ---> OpenEvent --- over ---> CoolDown ---> at rest

All ticks are of the deployment's grid. Scores are exact: JSON keeps every bit of a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from engines.canonical import canonical_json
from engines.strict_json import short
from pipeline.errors import BadRecordError
from pipeline.records.events import Evidence, ModelReference
from pipeline.records.fields import (
    LATEST_SECONDS,
    CameraId,
    Count,
    EventId,
    Flag,
    LabelId,
    LabelText,
    Offset,
    Rate,
    Score,
    Session,
    Tick,
    checked,
)
from pipeline.records.wire import Message, camera_of, json_object_of_schema, plain

STATE_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Peak:
    """The window with the highest score so far."""

    score: Score
    tick: Tick
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Streak:
    """Windows in a row at or above `exit` that may become an event."""

    label_id: LabelId
    label: LabelText
    count: Count
    """How many of the last ones reached `enter` in a row; it stops mattering once it has reached `confirm`."""
    rise_tick: Tick
    """First of them; the event may begin there (`backtrack_seconds`)."""
    first_tick: Tick
    """First of those that are counted."""
    tick: Tick
    """Last window that was considered."""
    peak: Peak
    floor_tick: Tick | None
    """End of the label's previous event where that is recent enough to matter: the next event starts no earlier."""


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """An event that was started and must be ended."""

    label_id: LabelId
    label: LabelText
    """Text of the label when the event started."""
    id: EventId
    sequence: Count
    """Of the last message that was sent."""
    start_tick: Tick
    tick: Tick
    """Last window that was considered."""
    above_tick: Tick
    """Last window at or above `exit`."""
    score: Score
    """Of the last window."""
    peak: Peak
    told_peak: Score
    """Peak of the last message that was sent."""
    told_tick: Tick
    """Tick of the last message that was sent."""
    started_by: ModelReference


@dataclass(frozen=True, slots=True)
class CoolDown:
    """Resting after an event, because `cooldown_seconds` says so."""

    label_id: LabelId
    until_tick: Tick
    """First tick at which a new streak may begin."""
    floor_tick: Tick
    """End of the event."""


LabelState: TypeAlias = Streak | OpenEvent | CoolDown
LabelStates: TypeAlias = Mapping[str, LabelState]
"""By label id; labels at rest are absent."""


@dataclass(frozen=True, slots=True)
class CameraState:
    """Everything a worker must remember of a camera to go on where another one stopped."""

    camera: CameraId
    session: Session
    rate: Rate
    """Frames per second of the session's tick grid."""
    last_tick: Tick
    ended: Flag
    """The session is over; only a newer one brings the camera back."""
    labels: tuple[LabelState, ...]
    """Labels that are not at rest, ordered by id."""
    opened: Offset = 0
    """Offset of the record that opened the session."""


def encode_state(state: CameraState) -> Message:
    """Put a camera's state into wire form; the sender names the partition."""
    document = {
        "schema": STATE_SCHEMA,
        **plain(replace(state, labels=())),
        "labels": [_label_document(label) for label in sorted(state.labels, key=lambda label: label.label_id)],
    }
    return Message(state.camera.encode(), canonical_json(document))


def decode_state(key: bytes | None, value: bytes | None) -> CameraState:
    """Read a camera's state. Raises BadRecordError, also where the key names another camera."""
    camera = camera_of(key)
    document = json_object_of_schema(value, STATE_SCHEMA, "camera state")
    labels = document.get("labels")
    if not isinstance(labels, list):
        raise BadRecordError("fields", "camera state: labels: must be a list")
    read = tuple(_label_state(part) for part in labels)
    state = checked(CameraState, {**document, "labels": read}, "camera state")
    if state.camera != camera:
        raise BadRecordError("key", f"state of camera {short(state.camera)} under the key {short(camera)}")
    if len({label.label_id for label in read}) < len(read):
        raise BadRecordError("fields", "camera state: labels: two have the same id")
    _check_ticks(state)
    return state


def _check_ticks(state: CameraState) -> None:
    """Hold ticks to what is an instant at this camera's rate; only the end of a cool-down may lie later."""
    latest = state.rate * LATEST_SECONDS
    for label in state.labels:
        if not all(-latest < tick < latest for tick in _ticks(label)):
            raise BadRecordError("fields", f"camera state: label {label.label_id!r} has a tick beyond the year 2116")
    if state.last_tick >= latest:
        raise BadRecordError("fields", f"camera state: last_tick: {state.last_tick} lies beyond the year 2116")


def _ticks(label: LabelState) -> tuple[int, ...]:
    match label:
        case Streak():
            return label.rise_tick, label.first_tick, label.tick, label.peak.tick
        case OpenEvent():
            return label.start_tick, label.tick, label.above_tick, label.told_tick, label.peak.tick
        case CoolDown():
            return (label.floor_tick,)


def _label_document(state: LabelState) -> dict[str, Any]:
    match state:
        case Streak():
            return {"phase": "streak", **plain(state), "peak": _peak_document(state.peak)}
        case OpenEvent():
            nested = {"peak": _peak_document(state.peak), "started_by": plain(state.started_by)}
            return {"phase": "open", **plain(state), **nested}
        case CoolDown():
            return {"phase": "cooldown", **plain(state)}


def _peak_document(peak: Peak) -> dict[str, Any]:
    return {**plain(peak), "evidence": plain(peak.evidence)}


_PHASES: Mapping[str, type[LabelState]] = {"streak": Streak, "open": OpenEvent, "cooldown": CoolDown}


def _label_state(document: Any) -> LabelState:
    if not isinstance(document, dict):
        raise BadRecordError("fields", "camera state: labels: each must be an object")
    phase = document.get("phase")
    if not isinstance(phase, str) or phase not in _PHASES:
        raise BadRecordError("fields", f"camera state with a label in unknown phase {short(phase)}")
    return checked(_PHASES[phase], document, "camera state: label")
