"""What every record shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadRecordError
from pipeline.records.wire import camera_of, iso, json_object, json_object_of_schema, nanoseconds


@given(st.integers(0, 4_000_000_000_000))
def test_instants_keep_their_milliseconds(milliseconds: int) -> None:
    """Writing and reading an instant is exact to the millisecond, up to the year 2096."""
    assert nanoseconds(iso(milliseconds * 1_000_000)) == milliseconds * 1_000_000


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "x" * 20_000, "a\nb"])
def test_what_is_no_instant_is_refused_in_few_words(text: str) -> None:
    """A time zone belongs to it; the message repeats little of the text."""
    with pytest.raises(ValueError, match="instant") as caught:
        nanoseconds(text)
    assert len(str(caught.value)) < 150 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("key", "reason"),
    [(None, "key"), (b"", "key"), (b"\xff", "key"), (b"k" * 201, "range")],
)
def test_a_key_that_is_no_camera_id_has_a_reason(key: bytes | None, reason: str) -> None:
    """Missing, empty, no text, or longer than any camera id."""
    with pytest.raises(BadRecordError) as caught:
        camera_of(key)
    assert caught.value.reason == reason


def test_a_key_is_a_camera_id() -> None:
    """UTF-8, up to two hundred characters."""
    assert camera_of("é".encode() * 200) == "é" * 200


@pytest.mark.parametrize("value", [None, b"", b"3", b"[]", b"null", b"{", b'{"a":NaN}', b'{"a":1,"a":1}'])
def test_what_is_no_object_is_refused(value: bytes | None) -> None:
    """The message names what it should be."""
    with pytest.raises(BadRecordError, match="the thing is not") as caught:
        json_object(value, "the thing")
    assert caught.value.reason == "json"


@pytest.mark.parametrize("schema", ["2", "1.0", "true", '"1"', "null", "[1]"])
def test_a_schema_is_a_whole_number(schema: str) -> None:
    """True and 1.0 equal one, and are no schema."""
    with pytest.raises(BadRecordError, match=r"the thing of schema .*, expected 1") as caught:
        json_object_of_schema(f'{{"schema":{schema}}}'.encode(), 1, "the thing")
    assert caught.value.reason == "schema"
