"""The control topic: what to watch for, compacted by key (ARCHITECTURE 5b).

    key              value
    config           all labels of the settings file, written by whoever starts with one or sees it edited
    live/<id>        one label, written by `actionwire labels`; null once it is removed
    report/<group>   what the workers of a group can make of the labels in force; decides nothing

A live label is a record of its own, so people who edit different labels at the same time cannot undo each other's work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from engines.canonical import canonical_json
from engines.strict_json import short
from pipeline.errors import BadRecordError
from pipeline.records.fields import LABEL_ID, LONGEST_SECONDS, LONGEST_TEXT, MOST_WINDOWS
from pipeline.records.label_report import LabelReport, decode_report, encode_report, is_report
from pipeline.records.wire import Message, json_object_of_schema, plain

LABELS_SCHEMA = 1

CONFIG_KEY = "config"
LIVE_PREFIX = "live/"
MOST_REPLACED = 256
"""Former contents of the settings' labels that are remembered: at 17 bytes each a record stays small."""


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
    replaced: tuple[str, ...] = ()
    """Contents (`label_set.content_of`) that were in force and were replaced, oldest first: whoever merely starts with
    one of them does not put it back."""


@dataclass(frozen=True, slots=True)
class LiveLabel:
    """A label that was added or changed while running; `label` None: it was removed."""

    id: str
    label: Label | None


ControlRecord: TypeAlias = ConfigLabels | LiveLabel | LabelReport


def encode_control(record: ControlRecord) -> Message:
    """Put a control record into wire form. Equal records have equal bytes; thresholds that are None are left out."""
    if isinstance(record, LiveLabel):
        document = record.label and {"schema": LABELS_SCHEMA, "label": label_document(record.label)}
        value = canonical_json(document) if document else None
        return Message((LIVE_PREFIX + record.id).encode(), value, partition=0)
    if isinstance(record, LabelReport):
        return encode_report(record)
    labels = [label_document(label) for label in sorted(record.labels, key=lambda label: label.id)]
    replaced = {"replaced": list(record.replaced[-MOST_REPLACED:])} if record.replaced else {}
    document = {"schema": LABELS_SCHEMA, "labels": labels, **replaced}
    return Message(CONFIG_KEY.encode(), canonical_json(document), partition=0)


def decode_control(key: bytes | None, value: bytes | None) -> ControlRecord:
    """Read a control record; unknown fields are ignored.

    Raises BadRecordError: unknown key or schema, a field of another type or out of range, an id that occurs twice or
    differs from the key.
    """
    if is_report(key):
        return decode_report(key, value)
    name = (key or b"").decode(errors="replace")
    what = f"control record {short(name)}"
    if name != CONFIG_KEY and not name.startswith(LIVE_PREFIX):
        raise BadRecordError("key", f"control record of unknown key {short(name)}, expected config or live/<id>")
    if not value and name != CONFIG_KEY:
        if not _ID.fullmatch(removed := name.removeprefix(LIVE_PREFIX)):
            raise BadRecordError("key", f"{what} names no label: an id is 1 to 64 of a-z, 0-9 and -")
        return LiveLabel(removed, None)
    document = json_object_of_schema(value, LABELS_SCHEMA, what)
    try:
        if name == CONFIG_KEY:
            return _config_labels(document)
        label = _known_fields(document.get("label"))
        if LIVE_PREFIX + label.id != name:
            raise ValueError(f"the label's id is {label.id!r}")
        return LiveLabel(label.id, label)
    except ValueError as error:
        raise BadRecordError("fields", f"{what} is malformed: {error}") from error


def _config_labels(document: Mapping[str, Any]) -> ConfigLabels:
    documents = document.get("labels")
    if not isinstance(documents, list):
        raise ValueError("'labels' must be a list")
    labels = sorted((_known_fields(document) for document in documents), key=lambda label: label.id)
    if len({label.id for label in labels}) < len(labels):
        raise ValueError("two labels have the same id")
    return ConfigLabels(tuple(labels), _replaced(document.get("replaced", [])))


def _known_fields(document: Any) -> Label:
    """Read a label; what a newer version adds to it is ignored."""
    if not isinstance(document, dict):
        raise ValueError("a label must be an object")
    return label_from({name: value for name, value in document.items() if name in _FIELDS})


def _replaced(contents: Any) -> tuple[str, ...]:
    if not isinstance(contents, list) or not all(isinstance(one, str) and _CONTENT.fullmatch(one) for one in contents):
        raise ValueError("'replaced' must be a list of contents, each 16 of 0-9 and a-f")
    return tuple(contents[-MOST_REPLACED:])


_CONTENT = re.compile(r"[0-9a-f]{16}")


def names_camera(patterns: Iterable[str], camera: str) -> bool:
    """True when one of these ids or globs names the camera. Case matters."""
    return any(fnmatchcase(camera, pattern) for pattern in patterns)


def label_document(label: Label) -> dict[str, Any]:
    """The JSON document of a label."""
    kept = {name: value for name, value in plain(label).items() if value is not None}
    return {**kept, "cameras": list(label.cameras)}


def label_from(document: Mapping[str, Any]) -> Label:
    """Read a label from its JSON document. Raises ValueError that names the key and the reason."""
    if unknown := sorted(set(document) - set(_FIELDS)):
        raise ValueError(f"unknown key {short(unknown[0])}; known: {', '.join(_FIELDS)}")
    for name in ("id", "text"):
        if not isinstance(document.get(name), str) or not document[name].strip():
            raise ValueError(f"{name!r} must be a text that is not empty")
    whose = f"of label {short(document['text'])}"
    if not _ID.fullmatch(document["id"]):
        raise ValueError(f"id {short(document['id'])} {whose} must be 1 to 64 of a-z, 0-9 and -, not starting with -")
    for name, (holds, words) in _RANGES.items():
        value = document.get(name)
        if value is not None and not (_is_number(value) and holds(value)):
            raise ValueError(f"{name!r} {whose} must be {words}, not {short(value)}")
    if not isinstance(document.get("group"), str | None):
        raise ValueError(f"'group' {whose} must be a name")
    cameras = document.get("cameras", ("*",))
    if not isinstance(cameras, list | tuple) or not all(isinstance(pattern, str) for pattern in cameras):
        raise ValueError(f"'cameras' {whose} must be a list of ids or globs")
    if not cameras:
        raise ValueError(f"'cameras' {whose} is empty; name ids or globs, or leave it out for all")
    if max(map(len, (document["text"], document.get("group") or "", *cameras))) > LONGEST_TEXT:
        raise ValueError(f"text, group, ids and globs {whose} have at most {LONGEST_TEXT} characters each")
    return Label(**{**document, "cameras": tuple(cameras)})


_ID = re.compile(LABEL_ID)
_FIELDS = tuple(part.name for part in fields(Label))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
