"""The events topic: what subscribers read (ARCHITECTURE 4 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from engines.canonical import canonical_json
from pipeline.errors import BadRecordError
from pipeline.records.fields import (
    AtLeastOne,
    CameraId,
    Count,
    EventId,
    Instant,
    LabelId,
    LabelsVersion,
    LabelText,
    Name,
    Offset,
    PartitionNumber,
    Positive,
    Probability,
    Session,
    Text,
    Tick,
    checked,
)
from pipeline.records.wire import Message, iso, json_object_of_schema, nanoseconds, plain

EVENT_SCHEMA = 1

Phase: TypeAlias = Literal["started", "updated", "ended"]
EndReason: TypeAlias = Literal["score", "session", "label", "max_length", "shed", "lost"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the peak window's frames are: partition and offsets of its first and last accepted frame."""

    topic: Name
    partition: PartitionNumber
    first_offset: Offset
    last_offset: Offset


@dataclass(frozen=True, slots=True)
class ModelReference:
    """What produced a score."""

    bundle: Text
    name: Text
    version: Text
    space: Text


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """One message about one action of one camera. Times are nanoseconds since 1970; all of them are stream time."""

    id: EventId
    sequence: Count
    phase: Phase
    camera: CameraId
    session: Session
    label_id: LabelId
    label: LabelText
    time_ns: Instant
    """Instant of the window that decided this message (its last tick)."""
    start_ns: Instant
    start_tick: Tick
    end_ns: Instant | None
    end_tick: Tick | None
    score: Probability
    peak: Probability
    peak_ns: Instant
    reason: EndReason | None
    model: ModelReference
    started_by: ModelReference
    """The model that started the event; differs from `model` when the engine was swapped while it was open."""
    labels_version: LabelsVersion
    window_frames: AtLeastOne
    window_rate: Positive
    """Frames per second inside the window."""
    evidence: Evidence

    @property
    def message_id(self) -> str:
        """`<event id>.<sequence>`: the same for the same message, whoever sends it and how often."""
        return f"{self.id}.{self.sequence}"


def event_document(event: ActionEvent) -> dict[str, Any]:
    """The JSON document of an event, as `schemas/event.schema.json` describes it. Scores have six decimals."""
    return {
        "schema": EVENT_SCHEMA,
        "id": event.id,
        "sequence": event.sequence,
        "phase": event.phase,
        "camera": event.camera,
        "session": event.session,
        "label": {"id": event.label_id, "text": event.label},
        "time": iso(event.time_ns),
        "start": iso(event.start_ns),
        "start_tick": event.start_tick,
        "end": None if event.end_ns is None else iso(event.end_ns),
        "end_tick": event.end_tick,
        "score": round(event.score, 6),
        "peak": round(event.peak, 6),
        "peak_time": iso(event.peak_ns),
        "reason": event.reason,
        "model": plain(event.model),
        "started_by": plain(event.started_by),
        "labels_version": event.labels_version,
        "window": {"frames": event.window_frames, "rate": event.window_rate},
        "evidence": plain(event.evidence),
    }


def encode_event(event: ActionEvent, source: str) -> Message:
    """Put an event into wire form: JSON value, CloudEvents 1.0 Kafka binding in binary mode.

    source: CloudEvents source, a URI reference that names the deployment, for example `/actionwire`.
    """
    headers = {
        "ce_specversion": "1.0",
        "ce_type": f"actionwire.action.{event.phase}",
        "ce_source": source,
        "ce_id": event.message_id,
        "ce_subject": event.id,
        "ce_time": iso(event.time_ns),
        "content-type": "application/json",
    }
    value = canonical_json(event_document(event))
    return Message(event.camera.encode(), value, tuple((name, text.encode()) for name, text in headers.items()))


def decode_event(value: bytes | None) -> ActionEvent:
    """Read an event from its JSON value. Raises BadRecordError."""
    document = json_object_of_schema(value, EVENT_SCHEMA, "event")
    label, window = _part(document, "label"), _part(document, "window")
    times = {f"{field}_ns": _instant(document, name) for field, name in _INSTANTS.items()}
    nested = {
        "label_id": label.get("id"),
        "label": label.get("text"),
        "window_frames": window.get("frames"),
        "window_rate": window.get("rate"),
    }
    event = checked(ActionEvent, {**document, **times, **nested}, "event")
    ended = event.phase == "ended"
    if any((found is not None) != ended for found in (event.end_ns, event.end_tick, event.reason)):
        raise BadRecordError("fields", f"event in phase {event.phase}: only one that ended has an end and a reason")
    return event


_INSTANTS = {"time": "time", "start": "start", "end": "end", "peak": "peak_time"}


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    if not isinstance(part, dict):
        raise BadRecordError("fields", f"event: {name}: must be an object")
    return part


def _instant(document: dict[str, Any], name: str) -> int | None:
    text = document.get(name)
    if text is None:
        return None
    try:
        return nanoseconds(text)
    except (TypeError, ValueError) as error:
        raise BadRecordError("fields", f"event: {name}: {error}") from error
