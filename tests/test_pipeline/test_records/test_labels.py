"""The wire form of control records."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadRecordError
from pipeline.records.labels import (
    ConfigLabels,
    ControlRecord,
    Label,
    LabelPart,
    LiveLabel,
    PartedLabels,
    decode_control,
    encode_control,
    in_parts,
    names_camera,
)

FALL = Label("fall", "a person falls", "all", ("yard-*", "door"), enter=0.8, confirm=3, max_seconds=30.0)
RUN = Label("run", "a person runs")
TAUGHT = replace(RUN, examples=("0123456789abcdef", "f" * 16), counterexamples=("0" * 16,))


@pytest.mark.parametrize(
    "record",
    [
        ConfigLabels((FALL, RUN)),
        ConfigLabels((FALL,), ("0123456789abcdef", "f" * 16)),
        ConfigLabels(()),
        LabelPart(0, 0, (FALL, RUN)),
        LabelPart(1, 255, ()),
        PartedLabels(1, 256, "0123456789abcdef"),
        PartedLabels(0, 2, "f" * 16, ("0" * 16,)),
        LiveLabel("fall", FALL),
        LiveLabel("run", TAUGHT),
        LiveLabel("fall", None),
    ],
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
        (b"config", {"schema": True, "labels": []}, "schema", "expected 1"),
        (b"config", {"schema": 1, "labels": [[]]}, "fields", "must be an object"),
        (b"config", {"schema": 1, "labels": [""]}, "fields", "must be an object"),
        (b"config", {"schema": 1, "labels": {"": 1}}, "fields", "must be a list"),
        (b"live/x", {"schema": 1, "label": []}, "fields", "must be an object"),
        (b"live/x", {"schema": 1, "label": ""}, "fields", "must be an object"),
        (b"live/Not An Id!", {"schema": 1, "label": {"id": "Not An Id!", "text": "x"}}, "fields", "must be 1 to 64"),
        (b"live/x\n", {"schema": 1, "label": {"id": "x\n", "text": "x"}}, "fields", "must be 1 to 64"),
        (b"live/x", {"schema": 1, "label": {"id": "x", "text": "x" * 301}}, "fields", "at most 300"),
        (b"live/x", {"schema": 1, "label": {"id": "x", "text": "x", "cameras": {"a": 1}}}, "fields", "must be a list"),
        (b"live/x", {"schema": 1, "label": {"id": "x", "text": "x", "cameras": []}}, "fields", "is empty"),
        (b"config", {"schema": 1, "labels": [{"id": "x", "text": "x"}] * 2}, "fields", "same id"),
        (b"config", {"schema": 1, "labels": [{"id": "x"}]}, "fields", "'text'"),
        (b"config", {"schema": 1, "labels": [], "replaced": "all"}, "fields", "'replaced' must be a list"),
        (b"config", {"schema": 1, "labels": [], "replaced": ["A" * 16]}, "fields", "'replaced' must be a list"),
        *(
            (key, {"schema": 1, "labels": []}, "key", "is no part: expected config/<0 or 1>/<0 to 255>")
            for key in (b"config/", b"config/0", b"config/2/0", b"config/0/256", b"config/0/01", b"config/0/-1")
        ),
        (b"config/0/0", {"schema": 2, "labels": []}, "schema", "expected 1"),
        (b"config/0/0", {"schema": 1, "labels": [{"id": "x", "text": "x"}] * 2}, "fields", "same id"),
        (b"config", {"schema": 2}, "fields", "'parts' must be an object"),
        (b"config", {"schema": 2, "content": "x", "parts": {"generation": 0, "count": 1}}, "fields", "'content'"),
        *(
            (b"config", {"schema": 2, "content": "0" * 16, "parts": parts}, "fields", "must be a whole number")
            for parts in ({"generation": 2, "count": 1}, {"generation": True, "count": 1}, {"generation": 0})
        ),
        (b"config", {"schema": 2, "content": "0" * 16, "parts": {"generation": 0, "count": 257}}, "fields", "most 256"),
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


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(0, 1), st.integers(500, 3000))
def test_parts_hold_every_label_once_and_keep_to_their_size(lengths: list[int], generation: int, size: int) -> None:
    """Together they are the set, in order; what names them is written last."""
    record = ConfigLabels(tuple(Label(f"l{n:02}", "x" * length) for n, length in enumerate(lengths)), ("0" * 16,))

    records = in_parts(record, "f" * 16, generation, size)

    assert records is not None
    *parts, named = records
    assert named == PartedLabels(generation, len(parts), "f" * 16, record.replaced)
    assert [part for part in parts if not isinstance(part, LabelPart)] == []
    assert [(part.generation, part.number) for part in parts if isinstance(part, LabelPart)] == [
        (generation, number) for number in range(len(parts))
    ]
    assert tuple(label for part in parts if isinstance(part, LabelPart) for label in part.labels) == record.labels
    assert all(len(encode_control(part).value or b"") <= size for part in parts)


def test_parts_that_would_be_too_many_or_too_small_are_none() -> None:
    """One label that does not fit, or more parts than a reader takes: the caller chooses another size, or refuses."""
    record = ConfigLabels(tuple(Label(f"l{n:03}", "x" * 200) for n in range(300)))

    assert in_parts(record, "f" * 16, 0, 200) is None
    assert in_parts(record, "f" * 16, 0, 350) is None
    assert len(in_parts(record, "f" * 16, 0, 600) or ()) == 151


def test_globs_name_cameras() -> None:
    """A label's cameras are ids or globs, and case matters."""
    assert names_camera(("front-*", "yard"), "front-door")
    assert names_camera(("*",), "anything")
    assert not names_camera(("front-*",), "Front-door")


@pytest.mark.parametrize(
    "value", [b"[" * 100_000, b'{"labels":' * 100_000, b'{"schema":1,"labels":' + b"[" * 99 + b"]" * 99 + b"}"]
)
def test_deep_nesting_is_one_bad_record(value: bytes) -> None:
    """Brackets by the thousand cost their own record, however deep the reader's stack is."""
    with pytest.raises(BadRecordError, match="deeper than 64 levels"):
        decode_control(b"config", value)


def test_what_a_newer_version_says_of_a_label_is_passed_over() -> None:
    """A field that this version does not know changes nothing, so that workers can be updated one by one."""
    value = json.dumps({"schema": 1, "label": {"id": "run", "text": "a person runs", "hue": 3}, "author": "x"}).encode()

    assert decode_control(b"live/run", value) == LiveLabel("run", RUN)


def test_what_was_removed_has_an_id() -> None:
    """An empty value under the key of no label is refused: no record can be removed by it."""
    with pytest.raises(BadRecordError, match="names no label"):
        decode_control(b"live/Not An Id!", b"")


def test_a_label_without_examples_has_the_bytes_that_it_always_had() -> None:
    """Settings that were in force before there were examples are still the same content."""
    assert b"examples" not in (encode_control(LiveLabel("run", RUN)).value or b"")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"examples": ["0123"]}, "list of ids"),
        ({"examples": "0123456789abcdef"}, "list of ids"),
        ({"examples": ["f" * 16] * 2}, "each once"),
        ({"examples": [f"{number:016x}" for number in range(65)]}, "at most 64 ids"),
        ({"counterexamples": ["f" * 16]}, "need 'examples' beside them"),
    ],
)
def test_examples_that_name_nothing_are_refused(fields: dict[str, Any], words: str) -> None:
    """Ids are what the examples topic names them by."""
    document = {"schema": 1, "label": {"id": "run", "text": "a person runs", **fields}}
    with pytest.raises(BadRecordError, match=words):
        decode_control(b"live/run", json.dumps(document).encode())
