"""JSON that programs can exchange, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.strict_json import DEEPEST, MOST_BYTES, parse_json, short

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, st.booleans())
def test_what_is_written_is_read(value: Any, escaped: bool) -> None:
    """Every value of JSON comes back, written as ASCII or as UTF-8, from text and from bytes."""
    text = json.dumps(value, ensure_ascii=escaped)
    assert parse_json(text) == parse_json(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('"x"'.encode("utf-16"), "utf-8"),
        (b"NaN", "NaN is no number"),
        (b'{"a":[-Infinity]}', "-Infinity is no number"),
        (b"1e999", "1e999 is too large"),
        (b"-1e999", "-1e999 is too large"),
        (b"9" * 5000, "4300 digits"),
        (b'{"a":1,"b":2,"a":1}', "the name 'a' stands twice"),
        (b'[{"a":{"x":1,"x":2}}]', "the name 'x' stands twice"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'"\xed\xa0\x80"', "utf-8"),
        ('"\udcff"', "surrogate"),
        (b"[" * 100_000, "deeper than 64"),
        (b'{"a":' * 100_000, "deeper than 64"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "deeper than 64"),
        (b" " * (MOST_BYTES + 1), "at most"),
    ],
)
def test_what_programs_cannot_exchange_is_refused(text: str | bytes, words: str) -> None:
    """Each with its reason, as a ValueError whose message is short and on one line."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


def test_nesting_and_pairs_of_surrogates_are_fine_as_far_as_they_go() -> None:
    """The deepest document that is allowed, many brackets beside each other, a character outside the first plane."""
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST)
    assert parse_json("[" + ",".join(["[]"] * 500) + "]") == [[]] * 500
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("value", ["a\nb", "\ud800", "x" * 10**6, b"\xff" * 10**6, [["x"] * 10**4], 10**4000, None])
def test_a_message_quotes_little(value: object) -> None:
    """On one line, in ASCII, at most a little longer than the limit."""
    assert short(value).isascii() and short(value).isprintable() and len(short(value)) <= 63
