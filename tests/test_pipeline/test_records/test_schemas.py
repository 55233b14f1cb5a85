"""The JSON Schemas, held against records as they are really encoded."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.analysis.label_set import make
from pipeline.errors import BadRecordError
from pipeline.records import schemas
from pipeline.records.cameras import CameraStatus, encode_status
from pipeline.records.events import ActionEvent, encode_event
from pipeline.records.frames import (
    EndMarker,
    FrameRecord,
    LabelsMarker,
    StreamRecord,
    decode_stream_record,
    encode_stream_record,
)
from pipeline.records.label_report import LabelReport, PictureForm
from pipeline.records.labels import (
    ConfigLabels,
    ControlRecord,
    LabelPart,
    LiveLabel,
    PartedLabels,
    encode_control,
)
from pipeline.testing import sample_event

STARTED, ENDED = sample_event("started"), sample_event("ended")
ONLINE = CameraStatus(
    "yard",
    "online",
    1_790_000_000_000,
    1_790_000_000_000,
    12.5,
    320,
    240,
    "h264",
    "rtcp",
    -0.02,
    0,
    "host-1",
    None,
    None,
)
OFFLINE = CameraStatus(
    "yard", "offline", 1_790_000_000_000, None, None, None, None, None, None, None, 3, "host-1", "host-2", "no answer"
)
FRAME = FrameRecord(
    "yard", 1_790_000_000_000, 0, 7_160_000_044, 4, 1_790_000_011_000_000_000, "rtcp", 320, 240, b"jpeg"
)
FALL = make(
    {"text": "a person falls", "group": "all", "cameras": ["yard-*"], "enter": 0.8, "confirm": 3, "max_seconds": 9}
)


def valid(name: schemas.SchemaName, document: Any) -> bool:
    """Whether a document is of a schema, formats included."""
    kind = jsonschema.Draft202012Validator
    return kind(schemas.schema(name), format_checker=kind.FORMAT_CHECKER).is_valid(document)


def value_of(message: Any) -> Any:
    """The JSON value of an encoded record."""
    return json.loads(message.value)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_schema_is_a_schema(name: schemas.SchemaName) -> None:
    """Each file is valid under the 2020-12 meta-schema and says what it is."""
    found = schemas.schema(name)

    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$id"].startswith("urn:actionwire:schema:")


def test_every_file_has_a_name() -> None:
    """No schema lies around that nothing names."""
    files = Path(schemas.__file__).parent.glob("*.schema.json")

    assert {path.name.removesuffix(".schema.json") for path in files} == set(schemas.NAMES)


@pytest.mark.parametrize("event", [STARTED, sample_event("updated"), ENDED, sample_event(labels_version=-1, peak=1.0)])
def test_encoded_events_are_valid(event: ActionEvent) -> None:
    """All three phases, and the ends of what a field may hold."""
    assert valid("event", value_of(encode_event(event, "/actionwire")))


@pytest.mark.parametrize(
    "event",
    [
        replace(ENDED, reason=None),
        replace(STARTED, reason="score"),
        replace(ENDED, end_ns=None),
        replace(STARTED, peak=1.5),
    ],
)
def test_events_that_contradict_themselves_are_not(event: ActionEvent) -> None:
    """An ended event has an end and a reason, an open one has neither, a score is a probability."""
    assert not valid("event", value_of(encode_event(event, "/actionwire")))


def test_no_field_of_an_event_is_optional() -> None:
    """Taking any field away, at any depth, makes an event invalid. One more does not: a later version may say more."""
    document = value_of(encode_event(ENDED, "/actionwire"))
    places = [(), ("label",), ("model",), ("started_by",), ("window",), ("evidence",)]
    for place in places:
        part = document
        for step in place:
            part = part[step]
        for name in [*part, "another"]:
            changed = copy.deepcopy(document)
            target = changed
            for step in place:
                target = target[step]
            if name == "another":
                target[name] = 1
            else:
                del target[name]
            assert valid("event", changed) == (name == "another"), (*place, name)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_schemas_are_open(name: schemas.SchemaName) -> None:
    """Consumers ignore what they do not know, so no schema may tell them to refuse it."""
    assert "additionalProperties" not in json.dumps(schemas.schema(name))


def test_what_a_schema_refuses_of_a_frame_the_worker_refuses_too() -> None:
    """Signs, spaces, underscores and numbers out of range are bad for both; headers of others are fine for both."""
    message = encode_stream_record(FRAME)
    ours = dict(message.headers)
    numbers = ("session", "seq", "tick", "rate", "capture_ns", "width", "height")
    texts = ("+5", " 5 ", "1_0", "", "x", "-3", "5" * 20, "\u0665", "5.0")
    changes = [{name: text} for name in numbers for text in texts] + [
        {"clock": "sundial"},
        {"kind": "x"},
        {"schema": "2"},
    ]
    changes += [{"scene_width": "4"}, {"scene_width": "4", "scene_height": "3"}, {"scene_height": "3"}]
    changes += [{"rate": "0"}, {"width": "0"}, {"trace": "0"}, {"tick": "007"}, {"rate": "04"}]
    for change in changes:
        headers = {**ours, **{name: text.encode() for name, text in change.items()}}
        try:
            decode_stream_record(message.key, message.value, tuple(headers.items()))
            taken = True
        except BadRecordError:
            taken = False
        assert valid("frame", {name: value.decode() for name, value in headers.items()}) == taken, change


@pytest.mark.parametrize(
    "record",
    [
        FRAME,
        replace(FRAME, clock="arrival", scene=(455, 256)),
        EndMarker("yard", 1_790, 44, "lost"),
        LabelsMarker(12),
    ],
)
def test_headers_of_encoded_frames_and_markers_are_valid(record: StreamRecord) -> None:
    """Every kind of record of the frames topic; taking any header away makes it invalid."""
    headers = {name: value.decode() for name, value in encode_stream_record(record).headers}

    assert valid("frame", headers)
    for name in headers:  # those of the scene are there or not, both together
        assert not valid("frame", {key: value for key, value in headers.items() if key != name}), name


@pytest.mark.parametrize("status", [ONLINE, OFFLINE])
def test_encoded_statuses_are_valid(status: CameraStatus) -> None:
    """A camera that is there and one that never was; an unknown condition is not valid."""
    document = value_of(encode_status(status))

    assert valid("camera-status", document)
    assert not valid("camera-status", {**document, "condition": "tired"})


@pytest.mark.parametrize(
    "record",
    [
        ConfigLabels((FALL,)),
        ConfigLabels((), ("0" * 16,)),
        LabelPart(1, 3, (FALL,)),
        PartedLabels(0, 4, "0" * 16, ("1" * 16,)),
        LiveLabel(FALL.id, FALL),
        LabelReport("workers", "b" * 64, "demo", "0.1.0", 7, (("fall", "does not know 'fence'"),), 1),
        LabelReport("workers", "b" * 64, "demo", "0.1.0", 7, input=PictureForm(128, 96, "area", "squash")),
    ],
)
def test_encoded_labels_are_valid(record: ControlRecord) -> None:
    """Settings and live labels, with and without thresholds, and reports; another schema version is not valid."""
    document = value_of(encode_control(record))

    assert valid("label-set", document)
    assert not valid("label-set", {**document, "schema": 3 - document["schema"]})
