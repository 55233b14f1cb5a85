"""The templates, and labels as words."""

from __future__ import annotations

from trainer.models.text import templates


def test_the_templates_are_those_of_the_release() -> None:
    """Sixteen, each with one place for the label, the bare label among them."""
    assert len(templates.TEMPLATES) == 16 and all(template.count("{}") == 1 for template in templates.TEMPLATES)
    assert templates.TEMPLATES[templates.BARE] == "{}"


def test_class_names_are_parted_into_words() -> None:
    """CamelCase and underscores become spaces; plain text stays."""
    assert templates.spaced("ApplyEyeMakeup") == templates.spaced("apply_eye_makeup") == "apply eye makeup"
    assert templates.spaced("a person falls") == "a person falls"
