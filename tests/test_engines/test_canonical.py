"""One form for what is equal."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.canonical import canonical_json, folded, spaced, words

plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
).filter(lambda data: _encodable(data))


def _encodable(data: object) -> bool:
    try:
        canonical_json(data)
    except UnicodeEncodeError:
        return False
    return True


@given(plain_json)
def test_canonical_json_survives_a_round_trip(data: Any) -> None:
    """Reading canonical JSON and writing it again gives the same bytes."""
    assert canonical_json(json.loads(canonical_json(data))) == canonical_json(data)


def test_canonical_json_ignores_the_order_of_keys() -> None:
    """Two dictionaries with the same items have one canonical text."""
    assert (
        canonical_json({"b": 1, "a": [1.5, "é"]})
        == canonical_json({"a": [1.5, "é"], "b": 1})
        == b'{"a":[1.5,"\xc3\xa9"],"b":1}'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_canonical_json_has_no_numbers_that_json_lacks(value: float) -> None:
    """A reader in another language would stumble over them."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"peak": value})


def test_spaces_are_single() -> None:
    """Line breaks, tabs and doubled blanks become one space; the ends have none."""
    assert spaced("  a person\n falls \t down ") == "a person falls down"


@pytest.mark.parametrize(
    "written", ["A person  falls", "a PERSON falls\n", "\uff41 person falls"], ids=["blanks", "case", "full width"]
)
def test_texts_are_compared_without_case_blanks_and_spelling(written: str) -> None:
    """However a person writes a label, it is the same label."""
    assert folded(written) == "a person falls"


@given(st.text())
def test_composed_and_decomposed_texts_are_equal(text: str) -> None:
    """A Mac writes an umlaut as two signs, others as one."""
    import unicodedata

    assert folded(unicodedata.normalize("NFD", text)) == folded(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("apply_eye_makeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
        ("TVRepair", "tv repair"),
        ("Step2Left", "step2 left"),
        ("a person  falls ", "a person falls"),
        ("A Person falls", "A Person falls"),
        ("X-ray", "X-ray"),
        ("", ""),
        ("T\u00fcr\u00d6ffnen", "t\u00fcr \u00f6ffnen"),
        ("Tu\u0308rO\u0308ffnen", "t\u00fcr \u00f6ffnen"),
        ("ПрыжокВверх", "прыжок вверх"),
        ("跑步", "跑步"),
    ],
)
def test_a_class_name_becomes_words(name: str, expected: str) -> None:
    """Capitals and underscores part them, in every alphabet that has capitals; words stay as they are."""
    assert words(name) == expected
