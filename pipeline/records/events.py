"""The events topic: what subscribers read (ARCHITECTURE 4 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from engines.canonical import canonical_json
from pipeline.errors import BadRecordError
from pipeline.records.wire import Message, iso, json_object, nanoseconds, plain

EVENT_SCHEMA = 1

Phase: TypeAlias = Literal["started", "updated", "ended"]
EndReason: TypeAlias = Literal["score", "session", "label", "max_length", "shed", "lost"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the peak window's frames are: partition and offsets of its first and last accepted frame."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class ModelReference:
    """What produced a score."""

    bundle: str
    name: str
    version: str
    space: str


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """One message about one action of one camera. Times are nanoseconds since 1970; all of them are stream time."""

    id: str
    sequence: int
    phase: Phase
    camera: str
    session: int
    label_id: str
    label: str
    time_ns: int
    """Instant of the window that decided this message (its last tick)."""
    start_ns: int
    start_tick: int
    end_ns: int | None
    end_tick: int | None
    score: float
    peak: float
    peak_ns: int
    reason: EndReason | None
    model: ModelReference
    started_by: ModelReference
    """The model that started the event; differs from `model` when the engine was swapped while it was open."""
    labels_version: int
    window_frames: int
    window_rate: float
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
    document = json_object(value, "event")
    try:
        if document["schema"] != EVENT_SCHEMA:
            raise BadRecordError("schema", f"event of schema {document['schema']!r}, expected {EVENT_SCHEMA}")
        return ActionEvent(
            id=document["id"],
            sequence=document["sequence"],
            phase=document["phase"],
            camera=document["camera"],
            session=document["session"],
            label_id=document["label"]["id"],
            label=document["label"]["text"],
            time_ns=nanoseconds(document["time"]),
            start_ns=nanoseconds(document["start"]),
            start_tick=document["start_tick"],
            end_ns=None if document["end"] is None else nanoseconds(document["end"]),
            end_tick=document["end_tick"],
            score=document["score"],
            peak=document["peak"],
            peak_ns=nanoseconds(document["peak_time"]),
            reason=document["reason"],
            model=ModelReference(**document["model"]),
            started_by=ModelReference(**document["started_by"]),
            labels_version=document["labels_version"],
            window_frames=document["window"]["frames"],
            window_rate=document["window"]["rate"],
            evidence=Evidence(**document["evidence"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadRecordError):
            raise
        raise BadRecordError("fields", f"event with a missing or malformed field: {error}") from error
