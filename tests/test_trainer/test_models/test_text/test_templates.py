"""The templates, and labels as words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainer.models.text import templates
from trainer.models.text.templates import Templates

GOLDEN = (
    ("a photo of action {}", "suffix"),
    ("a picture of action {}", "suffix"),
    ("Human action of {}", "suffix"),
    ("{}, an action", "prefix"),
    ("{} this is an action", "prefix"),
    ("{}, a video of action", "prefix"),
    ("Playing action of {}", "suffix"),
    ("{}", "bare"),
    ("Playing a kind of action, {}", "suffix"),
    ("Doing a kind of action, {}", "suffix"),
    ("Look, the human is {}", "suffix"),
    ("Can you recognize the action of {}?", "cloze"),
    ("Video classification of {}", "suffix"),
    ("A video of {}", "suffix"),
    ("The man is {}", "suffix"),
    ("The woman is {}", "suffix"),
)


def test_golden_templates_are_those_of_the_release_with_their_kinds() -> None:
    """Sixteen strings in the order of the release, and where the label stands in each."""
    assert tuple((template, templates.kind_of(template)) for template in templates.TEMPLATES) == GOLDEN
    assert templates.TEMPLATES[templates.BARE] == "{}"


def test_a_recipe_chooses_kinds_or_brings_its_own() -> None:
    """All by default; a kind; sentences of one's own, also by kind."""
    assert Templates().chosen == templates.TEMPLATES
    assert Templates(kinds=("prefix", "cloze")).chosen == tuple(t for t, kind in GOLDEN if kind in ("prefix", "cloze"))
    own = ("footage of {}", "{} on camera", "here is {}, filmed")
    assert Templates(own=own).chosen == own
    assert Templates(own=own, kinds=("cloze",)).chosen == ("here is {}, filmed",)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"own": ["an action"]}, "needs exactly one {}"),
        ({"own": ["{} and {}"]}, "needs exactly one {}"),
        ({"own": ["{}", "{}"]}, "stands twice"),
        ({"own": ["{} here"], "kinds": ["suffix"]}, "no template is of the kinds suffix"),
        ({"kinds": []}, "at least 1"),
    ],
)
def test_templates_that_say_nothing_are_refused(wrong: dict[str, list[str]], reason: str) -> None:
    """No place for the label, two of them, the same twice, none left."""
    with pytest.raises(ValidationError, match=reason):
        Templates.model_validate(wrong)


def test_class_names_are_parted_into_words() -> None:
    """CamelCase and underscores become spaces; plain text stays."""
    assert templates.spaced("ApplyEyeMakeup") == templates.spaced("apply_eye_makeup") == "apply eye makeup"
    assert templates.spaced("a person falls") == "a person falls"
