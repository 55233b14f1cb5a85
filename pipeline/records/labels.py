"""The control topic: what to watch for, compacted by key (ARCHITECTURE 5b).

    key              value
    config           all labels of the settings file, written by whoever starts with one or sees it edited
    config/<g>/<n>   where they are too many for one record: the n-th part of them, before a `config` that names them
    live/<id>        one label, written by `actionwire labels`; null once it is removed
    report/<group>   what the workers of a group can make of the labels in force; decides nothing

A live label is a record of its own, so people who edit different labels at the same time cannot undo each other's work.
Parts decide nothing until the `config` record after them says how many there are and what they say together. They are
written in the generation (0 or 1) that is not in force, so that a writer who dies half way spoils nothing. A version of
ours from before the parts knows neither their keys nor schema 2 of `config`, says so, and leaves in force what was.
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
from pipeline.records.examples import ExampleId
from pipeline.records.fields import LABEL_ID, LONGEST_SECONDS, LONGEST_TEXT, MOST_WINDOWS
from pipeline.records.label_report import LabelReport, decode_report, encode_report, is_report
from pipeline.records.wire import Message, json_object, json_object_of_schema, plain, require_schema

LABELS_SCHEMA = 1
PARTED_SCHEMA = 2
"""Of a `config` record that names parts."""

CONFIG_KEY = "config"
PART_PREFIX = "config/"
MOST_PARTS = 256
LIVE_PREFIX = "live/"
MOST_EXAMPLES = 64
"""Of one label, and as many of what it is not."""
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
    examples: tuple[ExampleId, ...] = ()
    """Ids of what was shown of it (`records.examples`); none: the text alone decides."""
    counterexamples: tuple[ExampleId, ...] = ()
    """Ids of what it is not."""


@dataclass(frozen=True, slots=True)
class ConfigLabels:
    """All labels of the settings file, ordered by id."""

    labels: tuple[Label, ...]
    replaced: tuple[str, ...] = ()
    """Contents (`label_set.content_of`) that were in force and were replaced, oldest first: whoever merely starts with
    one of them does not put it back."""


@dataclass(frozen=True, slots=True)
class LabelPart:
    """Some of the labels of a settings file that has many."""

    generation: int
    number: int
    """From 0."""
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class PartedLabels:
    """All labels of the settings file, in the parts that were written before."""

    generation: int
    count: int
    content: str
    """What the parts say together (`label_set.content_of`): parts of two writers are no set."""
    replaced: tuple[str, ...] = ()
    """See `ConfigLabels`."""


@dataclass(frozen=True, slots=True)
class LiveLabel:
    """A label that was added or changed while running; `label` None: it was removed."""

    id: str
    label: Label | None


ControlRecord: TypeAlias = ConfigLabels | LabelPart | PartedLabels | LiveLabel | LabelReport


def encode_control(record: ControlRecord) -> Message:
    """Put a control record into wire form. Equal records have equal bytes; thresholds that are None are left out."""
    if isinstance(record, LiveLabel):
        document = record.label and {"schema": LABELS_SCHEMA, "label": label_document(record.label)}
        value = canonical_json(document) if document else None
        return Message((LIVE_PREFIX + record.id).encode(), value, partition=0)
    if isinstance(record, LabelReport):
        return encode_report(record)
    if isinstance(record, LabelPart):
        document = {"schema": LABELS_SCHEMA, "labels": [label_document(label) for label in record.labels]}
        return _message(f"{PART_PREFIX}{record.generation}/{record.number}", document)
    replaced = {"replaced": list(record.replaced[-MOST_REPLACED:])} if record.replaced else {}
    if isinstance(record, PartedLabels):
        parts = {"generation": record.generation, "count": record.count}
        return _message(CONFIG_KEY, {"schema": PARTED_SCHEMA, "content": record.content, "parts": parts, **replaced})
    labels = [label_document(label) for label in sorted(record.labels, key=lambda label: label.id)]
    return _message(CONFIG_KEY, {"schema": LABELS_SCHEMA, "labels": labels, **replaced})


def in_parts(record: ConfigLabels, content: str, generation: int, size: int) -> list[LabelPart | PartedLabels] | None:
    """The same labels in parts of at most `size` bytes, and the record that names them; None where they do not fit.

    content: `label_set.content_of` these labels.
    """
    parts: list[list[Label]] = []
    room = 0
    for label in sorted(record.labels, key=lambda label: label.id):
        needed = len(canonical_json(label_document(label))) + 1
        if not parts or needed > room:
            parts.append([])
            room = size - _PART_FRAME
        parts[-1].append(label)
        room -= needed
        if room < 0 or len(parts) > MOST_PARTS:
            return None
    named = PartedLabels(generation, len(parts), content, record.replaced)
    return [*(LabelPart(generation, number, tuple(labels)) for number, labels in enumerate(parts)), named]


def _message(key: str, document: Mapping[str, Any]) -> Message:
    return Message(key.encode(), canonical_json(document), partition=0)


_PART_FRAME = 64
"""Bytes of a part around its labels."""


def decode_control(key: bytes | None, value: bytes | None) -> ControlRecord:
    """Read a control record; unknown fields are ignored.

    Raises BadRecordError: unknown key or schema, a field of another type or out of range, an id that occurs twice or
    differs from the key.
    """
    if is_report(key):
        return decode_report(key, value)
    name = (key or b"").decode(errors="replace")
    what = f"control record {short(name)}"
    if name.startswith(PART_PREFIX):
        return _part(name, value, what)
    if name != CONFIG_KEY and not name.startswith(LIVE_PREFIX):
        raise BadRecordError("key", f"control record of unknown key {short(name)}, expected config or live/<id>")
    if not value and name != CONFIG_KEY:
        if not _ID.fullmatch(removed := name.removeprefix(LIVE_PREFIX)):
            raise BadRecordError("key", f"{what} names no label: an id is 1 to 64 of a-z, 0-9 and -")
        return LiveLabel(removed, None)
    document = json_object(value, what)
    if name == CONFIG_KEY and type(document.get("schema")) is int and document["schema"] == PARTED_SCHEMA:
        return _parted_labels(document, what)
    require_schema(document, LABELS_SCHEMA, what)
    try:
        if name == CONFIG_KEY:
            return ConfigLabels(_labels(document), _replaced(document.get("replaced", [])))
        label = _known_fields(document.get("label"))
        if LIVE_PREFIX + label.id != name:
            raise ValueError(f"the label's id is {label.id!r}")
        return LiveLabel(label.id, label)
    except ValueError as error:
        raise BadRecordError("fields", f"{what} is malformed: {error}") from error


def _part(name: str, value: bytes | None, what: str) -> LabelPart:
    found = _PART_KEY.fullmatch(name)
    if found is None or int(found["number"]) >= MOST_PARTS:
        raise BadRecordError("key", f"{what} is no part: expected {PART_PREFIX}<0 or 1>/<0 to {MOST_PARTS - 1}>")
    document = json_object_of_schema(value, LABELS_SCHEMA, what)
    try:
        return LabelPart(int(found["generation"]), int(found["number"]), _labels(document))
    except ValueError as error:
        raise BadRecordError("fields", f"{what} is malformed: {error}") from error


def _parted_labels(document: Mapping[str, Any], what: str) -> PartedLabels:
    parts, content = document.get("parts"), document.get("content")
    try:
        if not isinstance(parts, dict):
            raise ValueError("'parts' must be an object")
        for key, most in (("generation", 1), ("count", MOST_PARTS)):
            if type(parts.get(key)) is not int or not 0 <= parts[key] <= most:
                raise ValueError(f"'{key}' of 'parts' must be a whole number, at least 0 and at most {most}")
        if not isinstance(content, str) or not _CONTENT.fullmatch(content):
            raise ValueError("'content' must be 16 of 0-9 and a-f")
        return PartedLabels(parts["generation"], parts["count"], content, _replaced(document.get("replaced", [])))
    except ValueError as error:
        raise BadRecordError("fields", f"{what} is malformed: {error}") from error


def _labels(document: Mapping[str, Any]) -> tuple[Label, ...]:
    documents = document.get("labels")
    if not isinstance(documents, list):
        raise ValueError("'labels' must be a list")
    labels = sorted((_known_fields(document) for document in documents), key=lambda label: label.id)
    if len({label.id for label in labels}) < len(labels):
        raise ValueError("two labels have the same id")
    return tuple(labels)


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
_PART_KEY = re.compile(rf"{PART_PREFIX}(?P<generation>[01])/(?P<number>0|[1-9][0-9]{{0,2}})")


def names_camera(patterns: Iterable[str], camera: str) -> bool:
    """True when one of these ids or globs names the camera. Case matters."""
    return any(fnmatchcase(camera, pattern) for pattern in patterns)


def label_document(label: Label) -> dict[str, Any]:
    """The JSON document of a label."""
    kept = {name: value for name, value in plain(label).items() if value is not None and value != ()}
    lists = {name: list(value) for name, value in kept.items() if isinstance(value, tuple)}
    return {**kept, **lists}


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
    named = {name: _example_ids(name, document.get(name, ()), whose) for name in ("examples", "counterexamples")}
    if named["counterexamples"] and not named["examples"]:
        raise ValueError(f"'counterexamples' {whose} need 'examples' beside them")
    return Label(**{**document, "cameras": tuple(cameras), **named})


def _example_ids(name: str, ids: Any, whose: str) -> tuple[str, ...]:
    if not isinstance(ids, list | tuple) or not all(isinstance(one, str) and _CONTENT.fullmatch(one) for one in ids):
        raise ValueError(f"{name!r} {whose} must be a list of ids, each 16 of 0-9 and a-f")
    if len(ids) > MOST_EXAMPLES or len(set(ids)) < len(ids):
        raise ValueError(f"{name!r} {whose} has at most {MOST_EXAMPLES} ids, each once")
    return tuple(ids)


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
