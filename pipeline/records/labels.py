"""The control topic: sets of labels, compacted by the name of the set (DESIGN section 5b).

There are two sets: `config`, written by whoever starts with a settings file, and `live`, written by `actionwire
labels`. A set is one record, so reading the newest record of each name gives what is in force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, cast

from pipeline.errors import BadRecordError
from pipeline.records.wire import Message, canonical_json, json_object, plain

LABELS_SCHEMA = 1

SetName: TypeAlias = Literal["config", "live"]
SET_NAMES: tuple[SetName, ...] = ("config", "live")


@dataclass(frozen=True, slots=True)
class Label:
    """One action to watch for. Where a threshold is None, the defaults decide (see `pipeline.rules`)."""

    id: str
    """Stable name, used in events."""
    text: str
    group: str | None = None
    """Labels of one group compete with each other."""
    cameras: tuple[str, ...] = ("*",)
    """Ids or globs of the cameras that are watched for this label."""
    enter: float | None = None
    exit: float | None = None
    confirm: int | None = None
    min_seconds: float | None = None
    merge_seconds: float | None = None
    cooldown_seconds: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LabelSetRecord:
    """One named set of labels, ordered by id."""

    name: SetName
    labels: tuple[Label, ...]


def encode_label_set(record: LabelSetRecord) -> Message:
    """Put a set into wire form. Equal sets have equal bytes; thresholds that are None are left out."""
    labels = [label_document(label) for label in sorted(record.labels, key=lambda label: label.id)]
    document = {"schema": LABELS_SCHEMA, "name": record.name, "labels": labels}
    return Message(record.name.encode(), canonical_json(document))


def decode_label_set(value: bytes | None) -> LabelSetRecord:
    """Read a set. Raises BadRecordError: unknown schema, name or key, a value out of range, an id that occurs twice."""
    document = json_object(value, "label set")
    if document.get("schema") != LABELS_SCHEMA:
        raise BadRecordError("schema", f"label set of schema {document.get('schema')!r}, expected {LABELS_SCHEMA}")
    name = document.get("name")
    if name not in SET_NAMES:
        raise BadRecordError("fields", f"label set with unknown name {name!r}, expected one of {', '.join(SET_NAMES)}")
    try:
        labels = tuple(label_from(part) for part in document["labels"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecordError("fields", f"label set {name!r} is malformed: {error}") from error
    if len({label.id for label in labels}) < len(labels):
        raise BadRecordError("fields", f"label set {name!r} holds two labels of the same id")
    return LabelSetRecord(cast(SetName, name), tuple(sorted(labels, key=lambda label: label.id)))


def label_document(label: Label) -> dict[str, Any]:
    """The JSON document of a label."""
    kept = {name: value for name, value in plain(label).items() if value is not None}
    return {**kept, "cameras": list(label.cameras)}


def label_from(document: Mapping[str, Any]) -> Label:
    """Read a label from its JSON document. Raises ValueError that names the key and the reason."""
    unknown = sorted(set(document) - {part.name for part in fields(Label)})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(part.name for part in fields(Label))}")
    for name in ("id", "text"):
        if not isinstance(document.get(name), str) or not document[name].strip():
            raise ValueError(f"{name!r} must be a text that is not empty")
    for name, (holds, words) in _RANGES.items():
        value = document.get(name)
        if value is not None and not (_is_number(value) and holds(value)):
            raise ValueError(f"{name!r} of label {document['text']!r} must be {words}, not {value!r}")
    if not isinstance(document.get("group"), str | None):
        raise ValueError(f"'group' of label {document['text']!r} must be a name")
    cameras = document.get("cameras", ("*",))
    if isinstance(cameras, str) or not all(isinstance(pattern, str) for pattern in cameras):
        raise ValueError(f"'cameras' of label {document['text']!r} must be a list of ids or globs")
    return Label(**{**document, "cameras": tuple(cameras)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "enter": (lambda value: 0 < value < 1, "between 0 and 1"),
    "exit": (lambda value: 0 < value < 1, "between 0 and 1"),
    "confirm": (lambda value: value >= 1 and isinstance(value, int), "a whole number of windows, at least 1"),
    "min_seconds": (lambda value: value >= 0, "at least 0"),
    "merge_seconds": (lambda value: value >= 0, "at least 0"),
    "cooldown_seconds": (lambda value: value >= 0, "at least 0"),
    "max_seconds": (lambda value: value > 0, "greater than 0"),
}
THRESHOLDS: tuple[str, ...] = tuple(_RANGES)
"""Names of the settings that decide when a score becomes an event."""
