"""The wire form of action events."""

import json
from dataclasses import replace

import pytest

from pipeline.errors import BadRecordError
from pipeline.records.events import ActionEvent, decode_event, encode_event
from pipeline.testing import sample_event

STARTED, ENDED = sample_event("started"), sample_event("ended", sequence=2)


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
        "ce_time": b"2023-11-14T22:13:36.250Z",
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
