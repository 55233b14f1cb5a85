"""The wire form of control records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import BadRecordError
from pipeline.records.labels import (
    ConfigLabels,
    ControlRecord,
    Label,
    LiveLabel,
    decode_control,
    encode_control,
    names_camera,
)

FALL = Label("fall", "a person falls", "all", ("yard-*", "door"), enter=0.8, confirm=3, max_seconds=30.0)
RUN = Label("run", "a person runs")


@pytest.mark.parametrize(
    "record", [ConfigLabels((FALL, RUN)), ConfigLabels(()), LiveLabel("fall", FALL), LiveLabel("fall", None)]
)
def test_what_is_sent_is_what_is_read(record: ControlRecord) -> None:
    """Encoding and decoding loses nothing; everything goes to the topic's only partition."""
    message = encode_control(record)

    assert (decode_control(message.key, message.value), message.partition) == (record, 0)


def test_the_key_says_what_compaction_may_forget() -> None:
    """The newest settings replace older ones, the newest state of a live label replaces its older ones."""
    records = [ConfigLabels((FALL,)), LiveLabel("fall", FALL), LiveLabel("run", None)]

    assert [encode_control(record).key for record in records] == [b"config", b"live/fall", b"live/run"]


def test_equal_sets_have_equal_bytes() -> None:
    """The order in which labels were written down does not matter, so an unchanged set is recognised."""
    assert encode_control(ConfigLabels((FALL, RUN))) == encode_control(ConfigLabels((RUN, FALL)))


@pytest.mark.parametrize(
    ("key", "document", "reason", "words"),
    [
        (b"config", {"schema": 9, "labels": []}, "schema", "expected 1"),
        (b"nonsense", {"schema": 1}, "key", "unknown key 'nonsense'"),
        (b"\xff", {"schema": 1}, "key", "unknown key"),
        (b"config", {"schema": 1}, "fields", "labels"),
        (b"config", {"schema": 1, "labels": [{"id": "x", "text": "x", "tresh": 1}]}, "fields", "unknown key 'tresh'"),
        (b"config", {"schema": 1, "labels": [{"id": "x", "text": "x"}] * 2}, "fields", "same id"),
        (b"config", {"schema": 1, "labels": [{"id": "x"}]}, "fields", "'text'"),
        (b"live/x", {"schema": 1, "label": {"id": "y", "text": "y"}}, "fields", "the label's id is 'y'"),
        (b"live/x", {"schema": 1, "label": {"id": "x", "text": "x", "enter": 2}}, "fields", "between 0 and 1"),
        *(
            (b"live/x", {"schema": 1, "label": {"id": "x", "text": "x", "max_seconds": value}}, "fields", "at most 1e9")
            for value in (1e19, 3e18, 10**400)
        ),
        (b"live/x", {"schema": 1, "label": {"id": "x", "text": "x", "confirm": 10**400}}, "fields", "whole number"),
    ],
)
def test_a_bad_record_has_a_reason(key: bytes, document: dict[str, Any], reason: str, words: str) -> None:
    """What is not a control record of this schema is refused, naming what is wrong."""
    with pytest.raises(BadRecordError, match=words) as caught:
        decode_control(key, json.dumps(document).encode())

    assert caught.value.reason == reason


@pytest.mark.parametrize("value", [None, b"", b"[", b"3"])
def test_a_record_without_json_is_refused(value: bytes | None) -> None:
    """Only live labels may have no value: that removes them."""
    with pytest.raises(BadRecordError, match="control record 'config'"):
        decode_control(b"config", value)


def test_globs_name_cameras() -> None:
    """A label's cameras are ids or globs, and case matters."""
    assert names_camera(("front-*", "yard"), "front-door")
    assert names_camera(("*",), "anything")
    assert not names_camera(("front-*",), "Front-door")
