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
from pipeline.errors import BadRecordError
from pipeline.records.events import Evidence, ModelReference
from pipeline.records.wire import Message, json_object, plain

STATE_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Peak:
    """The window with the highest score so far."""

    score: float
    tick: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Streak:
    """Windows in a row at or above `exit` that may become an event."""

    label_id: str
    label: str
    count: int
    """The last of them that reached `enter`, in a row; stops mattering once it has reached `confirm`."""
    rise_tick: int
    """First of them; the event may begin there (`backtrack_seconds`)."""
    first_tick: int
    """First of those that are counted."""
    tick: int
    """Last window that was considered."""
    peak: Peak
    floor_tick: int | None
    """End of the label's previous event, where it is recent enough to matter: the next one does not start before."""


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """An event that was started and must be ended."""

    label_id: str
    label: str
    """Text of the label when the event started."""
    id: str
    sequence: int
    """Of the last message that was sent."""
    start_tick: int
    tick: int
    """Last window that was considered."""
    above_tick: int
    """Last window at or above `exit`."""
    score: float
    """Of the last window."""
    peak: Peak
    told_peak: float
    """Peak of the last message that was sent."""
    told_tick: int
    """Tick of the last message that was sent."""
    started_by: ModelReference


@dataclass(frozen=True, slots=True)
class CoolDown:
    """At rest by order, after an event."""

    label_id: str
    until_tick: int
    """First tick at which a new streak may begin."""
    floor_tick: int
    """End of the event."""


LabelState: TypeAlias = Streak | OpenEvent | CoolDown
LabelStates: TypeAlias = Mapping[str, LabelState]
"""By label id; labels at rest are absent."""


@dataclass(frozen=True, slots=True)
class CameraState:
    """Everything a worker must remember of a camera to go on where another one stopped."""

    camera: str
    session: int
    rate: int
    """Frames per second of the session's tick grid."""
    last_tick: int
    ended: bool
    """The session is over; only a newer one brings the camera back."""
    labels: tuple[LabelState, ...]
    """Labels that are not at rest, ordered by id."""
    opened: int = 0
    """Offset of the record that opened the session."""


def encode_state(state: CameraState) -> Message:
    """Put a camera's state into wire form; the sender names the partition."""
    document = {
        "schema": STATE_SCHEMA,
        **plain(replace(state, labels=())),
        "labels": [_label_document(label) for label in sorted(state.labels, key=lambda label: label.label_id)],
    }
    return Message(state.camera.encode(), canonical_json(document))


def decode_state(value: bytes | None) -> CameraState:
    """Read a camera's state. Raises BadRecordError."""
    document = json_object(value, "camera state")
    if document.pop("schema", None) != STATE_SCHEMA:
        raise BadRecordError("schema", f"camera state of an unknown schema, expected {STATE_SCHEMA}")
    try:
        labels = tuple(_label_state(part) for part in document.pop("labels"))
        return CameraState(**document, labels=labels)
    except (KeyError, TypeError) as error:
        raise BadRecordError("fields", f"camera state with a missing or unknown field: {error}") from error


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


def _label_state(document: Mapping[str, Any]) -> LabelState:
    fields = dict(document)
    phase = fields.pop("phase")
    if phase == "cooldown":
        return CoolDown(**fields)
    peak = fields.pop("peak")
    fields["peak"] = Peak(peak["score"], peak["tick"], Evidence(**peak["evidence"]))
    if phase == "streak":
        return Streak(**fields)
    if phase == "open":
        return OpenEvent(**{**fields, "started_by": ModelReference(**fields["started_by"])})
    raise BadRecordError("fields", f"camera state with a label in unknown phase {phase!r}")
