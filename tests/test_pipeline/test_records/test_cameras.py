"""The wire form of camera statuses."""

import json
from typing import Any

import pytest

from pipeline.errors import BadRecordError
from pipeline.records.cameras import CameraStatus, decode_status, encode_status

STATUS = CameraStatus(
    camera="yard",
    condition="online",
    since_ms=1_790_000_000_000,
    session=1_790_000_000_000,
    fps=12.5,
    width=320,
    height=240,
    codec="h264",
    clock="rtcp",
    clock_offset_seconds=-0.02,
    dropped=0,
    publisher="host-1",
    conflict=None,
    last_error=None,
)


def test_what_is_sent_is_what_is_read() -> None:
    """Encoding and decoding loses nothing, and the key is the camera, for compaction."""
    message = encode_status(STATUS)

    assert (message.key, decode_status(message.key, message.value)) == (b"yard", STATUS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 9}, "schema"),
        ({"session": "soon"}, "fields"),
        ({"session": 2**62}, "fields"),
        ({"publisher": 7}, "fields"),
    ],
)
def test_a_bad_status_has_a_reason(change: dict[str, Any], reason: str) -> None:
    """Another schema, an unknown field, or a session after which no frame would ever count is refused."""
    document = json.loads(encode_status(STATUS).value or b"")

    with pytest.raises(BadRecordError) as caught:
        decode_status(b"yard", json.dumps({**document, **change}).encode())

    assert caught.value.reason == reason
