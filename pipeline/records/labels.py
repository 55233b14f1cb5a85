"""The control topic: what to watch for, compacted by key (ARCHITECTURE 5b).

    key          value
    config       all labels of the settings file, written by whoever starts with one
    live/<id>    one label, written by `actionwire labels`; null once it is removed

A live label is a record of its own, so people who edit different labels at the same time cannot undo each other's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from engines.canonical import canonical_json
from pipeline.errors import BadRecordError
from pipeline.records.wire import Message, json_object, plain

LABELS_SCHEMA = 1

CONFIG_KEY = "config"
LIVE_PREFIX = "live/"


@dataclass(frozen=True, slots=True)
class Label:
    """One action to watch for. Where a threshold is None, the defaults decide (see `pipeline.analysis.thresholds`)."""

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
    backtrack_seconds: float | None = None
    min_seconds: float | None = None
    merge_seconds: float | None = None
    cooldown_seconds: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ConfigLabels:
    """All labels of the settings file, ordered by id."""

    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class LiveLabel:
    """A label that was added or changed while running; `label` None: it was removed."""

    id: str
    label: Label | None


ControlRecord: TypeAlias = ConfigLabels | LiveLabel


def encode_control(record: ControlRecord) -> Message:
    """Put a control record into wire form. Equal records have equal bytes; thresholds that are None are left out."""
    if isinstance(record, LiveLabel):
        document = record.label and {"schema": LABELS_SCHEMA, "label": label_document(record.label)}
        value = canonical_json(document) if document else None
        return Message((LIVE_PREFIX + record.id).encode(), value, partition=0)
    labels = [label_document(label) for label in sorted(record.labels, key=lambda label: label.id)]
    return Message(CONFIG_KEY.encode(), canonical_json({"schema": LABELS_SCHEMA, "labels": labels}), partition=0)


def decode_control(key: bytes | None, value: bytes | None) -> ControlRecord:
    """Read a control record.

    Raises BadRecordError: unknown key, schema or field, a value out of range, an id that occurs twice or is not that of
    the key.
    """
    name = (key or b"").decode(errors="replace")
    if not value and name.startswith(LIVE_PREFIX):
        return LiveLabel(name.removeprefix(LIVE_PREFIX), None)
    document = json_object(value, f"control record {name!r}")
    if document.get("schema") != LABELS_SCHEMA:
        raise BadRecordError("schema", f"control record of schema {document.get('schema')!r}, expected {LABELS_SCHEMA}")
    try:
        if name == CONFIG_KEY:
            labels = sorted((label_from(part) for part in document["labels"]), key=lambda label: label.id)
            if len({label.id for label in labels}) < len(labels):
                raise ValueError("two labels have the same id")
            return ConfigLabels(tuple(labels))
        if name.startswith(LIVE_PREFIX):
            label = label_from(document["label"])
            if LIVE_PREFIX + label.id != name:
                raise ValueError(f"the label's id is {label.id!r}")
            return LiveLabel(label.id, label)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecordError("fields", f"control record {name!r} is malformed: {error}") from error
    raise BadRecordError("key", f"control record of unknown key {name!r}, expected config or live/<id>")


def names_camera(patterns: Iterable[str], camera: str) -> bool:
    """True when one of these ids or globs names the camera. Case matters."""
    return any(fnmatchcase(camera, pattern) for pattern in patterns)


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
    return isinstance(value, int | float) and not isinstance(value, bool)


LONGEST_SECONDS = 1e9
"""Thirty years: as good as no limit, and still a number of ticks that can be calculated with."""
MOST_WINDOWS = 1_000_000

_DURATION = (lambda value: 0 <= value <= LONGEST_SECONDS, "at least 0 and at most 1e9")
_RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "enter": (lambda value: 0 < value < 1, "between 0 and 1"),
    "exit": (lambda value: 0 < value < 1, "between 0 and 1"),
    "confirm": (
        lambda value: isinstance(value, int) and 1 <= value <= MOST_WINDOWS,
        f"a whole number of windows, at least 1 and at most {MOST_WINDOWS}",
    ),
    "backtrack_seconds": _DURATION,
    "min_seconds": _DURATION,
    "merge_seconds": _DURATION,
    "cooldown_seconds": _DURATION,
    "max_seconds": (lambda value: 0 < value <= LONGEST_SECONDS, "greater than 0 and at most 1e9"),
}
THRESHOLDS: tuple[str, ...] = tuple(_RANGES)
"""Names of the settings that decide when a score becomes an event."""
