"""The wire form of action events."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadRecordError
from pipeline.records.events import ActionEvent, Evidence, ModelReference, decode_event, encode_event
from pipeline.records.wire import iso, nanoseconds

MODEL = ModelReference("b" * 64, "demo", "0.1.0", "s" * 16)
STARTED = ActionEvent(
    id="6c0f7f9e-0000-5000-8000-000000000000",
    sequence=0,
    phase="started",
    camera="front-door",
    session=1_790_000_000_000,
    label_id="a-person-falls-down",
    label="a person falls down",
    time_ns=1_790_000_012_250_000_000,
    start_ns=1_790_000_011_000_000_000,
    start_tick=7_160_000_044,
    end_ns=None,
    end_tick=None,
    score=0.91,
    peak=0.93,
    peak_ns=1_790_000_012_000_000_000,
    reason=None,
    model=MODEL,
    started_by=MODEL,
    labels_version=3,
    window_frames=8,
    window_rate=4.0,
    evidence=Evidence("actionwire.frames", 5, 100, 107),
)
ENDED = replace(
    STARTED, sequence=2, phase="ended", end_ns=1_790_000_014_000_000_000, end_tick=7_160_000_056, reason="score"
)


@pytest.mark.parametrize("event", [STARTED, ENDED])
def test_what_is_sent_is_what_is_read(event: ActionEvent) -> None:
    """Encoding and decoding loses nothing but digits beyond the milliseconds and the sixth decimal."""
    assert decode_event(encode_event(event, "/actionwire").value) == event


def test_headers_are_cloudevents_in_binary_mode() -> None:
    """`ce_id` names the message, `ce_subject` the event, `ce_time` is stream time."""
    headers = dict(encode_event(ENDED, "/plant-7").headers)

    assert headers == {
        "ce_specversion": b"1.0",
        "ce_type": b"actionwire.action.ended",
        "ce_source": b"/plant-7",
        "ce_id": ENDED.id.encode() + b".2",
        "ce_subject": ENDED.id.encode(),
        "ce_time": b"2026-09-21T14:13:32.250Z",
        "content-type": b"application/json",
    }


def test_equal_events_have_equal_bytes() -> None:
    """The JSON has sorted keys and no spaces, so a repeated event is the same event to the byte."""
    value = encode_event(STARTED, "/actionwire").value

    assert value == encode_event(replace(STARTED), "/actionwire").value
    assert value == json.dumps(json.loads(value or b""), sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"", "json"), (None, "json"), (b"[]", "json"), (b'{"schema":2}', "schema"), (b'{"schema":1}', "fields")],
)
def test_a_bad_event_has_a_reason(value: bytes | None, reason: str) -> None:
    """What is not an event of this schema is refused with a short reason."""
    with pytest.raises(BadRecordError) as caught:
        decode_event(value)

    assert caught.value.reason == reason


@given(st.integers(0, 4_000_000_000_000))
def test_instants_keep_their_milliseconds(milliseconds: int) -> None:
    """Writing and reading an instant is exact to the millisecond, up to the year 2096."""
    assert nanoseconds(iso(milliseconds * 1_000_000)) == milliseconds * 1_000_000
