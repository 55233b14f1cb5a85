"""What a truth document may say of a camera."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.truth import OVERHANG_SECONDS, Span, repeated, spans


def test_spans_are_taken_as_they_are() -> None:
    """Up to the very ends of the recording."""
    assert spans("door", 100.0, [("a person falls", 0, 100), ("OpenDoor", 10, 20.5)]) == [
        Span("a person falls", 0.0, 100.0),
        Span("open door", 10.0, 20.5),
    ]


@given(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
)
def test_a_span_lies_in_its_recording_or_is_refused(seconds: float, start: float, end: float) -> None:
    """Whatever the numbers are. At most a second is cut off at either end."""
    try:
        [span] = spans("door", seconds, [("fall", start, end)])
    except ValueError as error:
        assert str(error).startswith("camera 'door'") and str(error).isprintable()
        return
    assert 0 <= span.start < span.end <= seconds and math.isfinite(seconds)
    assert abs(span.start - start) <= OVERHANG_SECONDS and abs(span.end - end) <= OVERHANG_SECONDS


@pytest.mark.parametrize(
    ("cameras", "found"), [([], None), (["a", "b"], None), (["a", "b", "a"], "a"), (["a", "b", "b", "a"], "b")]
)
def test_the_first_camera_that_stands_twice_is_named(cameras: list[str], found: str | None) -> None:
    """Whatever its entries say."""
    assert repeated(cameras) == found


def test_a_name_without_end_makes_no_message_without_end() -> None:
    """And none with a second line."""
    with pytest.raises(ValueError, match="lasts 0 s") as caught:
        spans("d\n" * 5000, 0.0, [])

    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
