"""The wire form of frames and markers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadRecordError
from pipeline.records.fields import LATEST_NS, LATEST_SESSION
from pipeline.records.frames import (
    EndMarker,
    FrameRecord,
    LabelsMarker,
    StreamRecord,
    decode_stream_record,
    encode_stream_record,
)

SESSIONS = st.integers(0, LATEST_SESSION - 1)
TICKS = st.integers(0, 2**32)
SIDES = st.integers(1, 65_535)
VERSIONS = st.integers(0, 2**62 - 1)
CAMERAS = st.text(min_size=1, max_size=30)
FRAMES = st.builds(
    FrameRecord,
    camera=CAMERAS,
    session=SESSIONS,
    sequence=st.integers(0, 2**62),
    tick=TICKS,
    rate=st.integers(1, 60),
    capture_ns=st.integers(0, LATEST_NS - 1),
    clock=st.sampled_from(["rtcp", "arrival"]),
    width=SIDES,
    height=SIDES,
    jpeg=st.binary(min_size=1, max_size=50),
    scene=st.none() | st.tuples(SIDES, SIDES),
)
ENDS = st.builds(EndMarker, CAMERAS, SESSIONS, TICKS, st.sampled_from(["lost", "removed", "replaced"]))
FRAME = FrameRecord("a", 1, 0, 2, 4, 5, "rtcp", 6, 7, b"jpeg")


@given(FRAMES | ENDS | st.builds(LabelsMarker, VERSIONS))
def test_what_is_sent_is_what_is_read(record: StreamRecord) -> None:
    """Encoding and decoding loses nothing, for frames and both markers."""
    message = encode_stream_record(record)

    assert decode_stream_record(message.key, message.value, message.headers) == record


@pytest.mark.parametrize(
    ("reason", "key", "value", "changed"),
    [
        ("schema", b"a", b"jpeg", {"schema": b"99"}),
        ("kind", b"a", b"jpeg", {"kind": b"picture"}),
        ("key", b"", b"jpeg", {}),
        ("key", None, b"jpeg", {}),
        ("key", b"\xff\xfe", b"jpeg", {}),
        ("empty", b"a", b"", {}),
        ("empty", b"a", None, {}),
        ("bad_header", b"a", b"jpeg", {"tick": b"soon"}),
        ("missing_header", b"a", b"jpeg", {"scene_width": b"455"}),
        ("range", b"a", b"jpeg", {"scene_width": b"455", "scene_height": b"0"}),
        ("bad_header", b"a", b"jpeg", {"clock": b"sundial"}),
        ("bad_header", b"a", b"jpeg", {"session": b"+5"}),
        ("bad_header", b"a", b"jpeg", {"session": b" 5 "}),
        ("bad_header", b"a", b"jpeg", {"session": b"1_0"}),
        ("bad_header", b"a", b"jpeg", {"session": "\u0661".encode()}),
        ("range", b"a", b"jpeg", {"rate": b"0"}),
        ("range", b"a", b"jpeg", {"width": b"0"}),
        ("range", b"a", b"jpeg", {"height": b"-3"}),
        ("range", b"a", b"jpeg", {"seq": b"-1"}),
        ("range", b"a", b"jpeg", {"tick": b"9" * 5000}),
        ("range", b"a" * 201, b"jpeg", {}),
    ],
)
def test_a_bad_frame_has_a_reason(
    reason: str, key: bytes | None, value: bytes | None, changed: dict[str, bytes]
) -> None:
    """Every way in which a frame can be wrong has its own short word for the dead-letter topic."""
    headers = tuple({**dict(encode_stream_record(FRAME).headers), **changed}.items())

    with pytest.raises(BadRecordError) as caught:
        decode_stream_record(key, value, headers)

    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["session", "seq", "tick", "rate", "capture_ns", "width", "height"])
def test_a_missing_header_is_named(name: str) -> None:
    """The message says which header is missing."""
    headers = tuple(pair for pair in encode_stream_record(FRAME).headers if pair[0] != name)

    with pytest.raises(BadRecordError, match=name) as caught:
        decode_stream_record(b"a", b"jpeg", headers)

    assert caught.value.reason == "missing_header"


def test_headers_of_others_are_passed_over() -> None:
    """A tracing library adds its own, also twice; one of ours that stands twice says nothing."""
    message = encode_stream_record(FRAME)

    assert decode_stream_record(b"a", b"jpeg", (*message.headers, ("trace", b"1"), ("trace", b"2"))) == FRAME
    with pytest.raises(BadRecordError, match="'tick' stands twice"):
        decode_stream_record(b"a", b"jpeg", (*message.headers, ("tick", b"2")))
