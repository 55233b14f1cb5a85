"""The wire form of examples."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.errors import BadRecordError
from pipeline.records.examples import (
    Example,
    ExamplePicture,
    decode_example,
    encode_example,
    encode_removed,
    fillers,
    is_filler,
    named_by,
)

PICTURES = (ExamplePicture(0, 1.0, b"one"), ExamplePicture(2, 1.5, b"another"))
FENCE = Example("over-the-fence", 4, PICTURES, "clip fence.mp4")


def test_what_is_sent_is_what_is_read() -> None:
    """Encoding and decoding loses nothing; the key names the label and what is shown."""
    message = encode_example(FENCE)
    assert (decode_example(message.key, message.value), message.partition) == (FENCE, 0)
    assert named_by(message.key) == ("over-the-fence", FENCE.id) and FENCE.seconds == 0.75


@pytest.mark.parametrize(
    "other",
    [
        replace(FENCE, rate=8),
        replace(FENCE, pictures=PICTURES[:1]),
        replace(FENCE, pictures=(PICTURES[0], replace(PICTURES[1], tick=3))),
        replace(FENCE, pictures=(PICTURES[0], replace(PICTURES[1], pixel=1.0))),
        # The same bytes, cut elsewhere.
        replace(FENCE, pictures=(replace(PICTURES[0], jpeg=b"onea"), replace(PICTURES[1], jpeg=b"nother"))),
    ],
)
def test_an_example_is_named_by_what_it_shows(other: Example) -> None:
    """Other pictures, other times: another id. Where it comes from and whose it is plays no part."""
    assert other.id != FENCE.id
    assert replace(FENCE, source="elsewhere", label="fall").id == FENCE.id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "expected 1"),
        ({"rate": 0}, "rate"),
        ({"pictures": []}, "not as long as"),
        ({"pictures": "two"}, "must be a list"),
        ({"pictures": [{"tick": 0, "pixel": 1.0, "bytes": 3}]}, "not as long as the 10 bytes"),
        ({"pictures": [{"tick": 0, "pixel": 1.0, "bytes": True}, {"tick": 1, "pixel": 1.0, "bytes": 9}]}, "as long as"),
        ({"pictures": [{"tick": 1, "pixel": 1.0, "bytes": 3}, {"tick": 2, "pixel": 1.5, "bytes": 7}]}, "rise from 0"),
        ({"pictures": [{"tick": 0, "pixel": 1.0, "bytes": 3}, {"tick": 0, "pixel": 1.5, "bytes": 7}]}, "rise from 0"),
        ({"pictures": [{"tick": 0, "pixel": 1.0, "bytes": 3}, {"tick": 999, "pixel": 1.5, "bytes": 7}]}, "60 seconds"),
        ({"pictures": [{"tick": 0, "pixel": 0.0, "bytes": 3}, {"tick": 2, "pixel": 1.5, "bytes": 7}]}, "pixel"),
        ({"pictures": [{"tick": 0, "pixel": 1.0, "bytes": 4}, {"tick": 2, "pixel": 1.5, "bytes": 6}]}, "are named"),
    ],
)
def test_a_record_that_is_no_example_is_refused(change: dict[str, Any], words: str) -> None:
    """One value is wrong; the message names the example and the fault."""
    message = encode_example(FENCE)
    head, _, pictures = (message.value or b"").partition(b"\n")
    value = json.dumps({**json.loads(head), **change}).encode() + b"\n" + pictures
    with pytest.raises(BadRecordError, match=f"example over-the-fence/{FENCE.id}.*{words}"):
        decode_example(message.key, value)


@pytest.mark.parametrize(
    "key", [None, b"", b"fence", b"Not An Id/0123456789abcdef", b"fence/012", b"\xff/x", b"filler"]
)
def test_a_key_that_names_none_is_refused(key: bytes | None) -> None:
    """So is a value without pictures."""
    with pytest.raises(BadRecordError, match="expected <label>/<example>"):
        decode_example(key, b"{}")
    with pytest.raises(BadRecordError, match="has no pictures"):
        decode_example(b"fence/0123456789abcdef", b'{"schema": 1}')


def test_a_removed_example_leaves_its_key_and_fillers_leave_nothing() -> None:
    """Compaction forgets the pictures under the key; fillers are as many as it takes, under one key."""
    assert encode_removed("fence", FENCE.id) == replace(encode_example(replace(FENCE, label="fence")), value=None)
    filling = fillers(2_000_000, 1_000_000)
    assert sum(len(one.value or b"") for one in filling) >= 2_000_000
    assert all(is_filler(one.key) and len(one.value or b"") < 1_000_000 for one in filling)
