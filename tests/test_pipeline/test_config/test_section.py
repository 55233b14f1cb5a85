"""What every section has in common."""

import pytest
from pydantic import ValidationError

from pipeline.config.section import Section, documentation


class Example(Section):
    """One key."""

    size: int = 1
    """How large."""


def test_a_section_is_frozen_and_refuses_unknown_keys() -> None:
    """A misspelt key is an error, and nobody changes a setting that others read."""
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Example(sice=2)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        Example().size = 2  # type: ignore[misc]


class Narrower(Example):
    """What a base documents holds here too, but where it is said anew."""

    colour: str = "red"
    """Its colour.

    A second paragraph.
    """
    plain: int = 0


def test_the_string_below_a_field_documents_it() -> None:
    """So the sentence that a reader of the source sees is the one that `actionwire settings` prints."""
    assert documentation(Example) == {"size": "How large."}


def test_documentation_of_a_base_is_inherited() -> None:
    """A label has the keys of `events`, and their sentences; a field without a string has none."""
    assert documentation(Narrower) == {"size": "How large.", "colour": "Its colour.\n\nA second paragraph."}
