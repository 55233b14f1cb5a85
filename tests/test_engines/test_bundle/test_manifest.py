from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from engines.bundle.files import Bundle
from engines.bundle.manifest import (
    EventOverride,
    Events,
    EventSettings,
    Manifest,
    Score,
    manifest_id,
    parse,
    space_id,
)
from engines.errors import BundleError, IncompatibleBundle

DEFAULTS = EventSettings(
    enter=0.6, exit=0.4, confirm=2, min_seconds=0.5, merge_seconds=0.5, cooldown_seconds=1, max_seconds=60
)


def test_the_id_covers_everything_but_itself(tiny: Bundle) -> None:
    """A sealed id is the hash of the rest: another id leaves it, any other change moves it."""
    data = tiny.manifest.data()
    assert manifest_id(data | {"id": "other"}) == tiny.manifest.id
    assert manifest_id(data | {"licence": "other"}) != tiny.manifest.id


def test_the_space_is_decided_by_networks_and_tokenizer_only(tiny: Bundle) -> None:
    """New thresholds or probes keep the space, a new head does not."""
    files = dict(tiny.manifest.files)
    assert space_id(files | {"golden.npz": "0" * 64}, "frame") == tiny.manifest.space.id
    assert space_id(files | {"head.onnx": "0" * 64}, "frame") != tiny.manifest.space.id


def test_a_manifest_survives_its_json(tiny: Bundle) -> None:
    """Writing and parsing give an equal manifest."""
    assert parse(json.dumps(tiny.manifest.data()), "bundle.json")[0] == tiny.manifest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"input": {"height": 0}}, "input.height"),
        ({"score": {"logit_scale": -1}}, "score.logit_scale"),
        ({"score": {"templates": ["no place for the label"]}}, "templates"),
        ({"score": {"function": "sigmoid"}}, "logit_bias"),
        ({"events": {"defaults": {"exit": 0.9}}}, "exit must not be above enter"),
        ({"name": "../elsewhere"}, "name"),
        ({"files": {"image.onnx": "abc"}}, "files.image.onnx"),
    ],
)
def test_a_wrong_field_is_named(tiny: Bundle, change: dict[str, Any], named: str) -> None:
    """The error of a bad manifest names the file and the field."""
    data = _merged(tiny.manifest.data(), change)
    with pytest.raises(BundleError, match=named) as caught:
        parse(json.dumps(data), "here/bundle.json")
    assert "here/bundle.json" in str(caught.value)


@pytest.mark.parametrize(
    "report", ['{"f1": NaN}', '{"f1": -Infinity}', '{"f1": 1e999}', '"\\ud800"', "[" * 50_000, "[" * 99 + "]" * 99]
)
def test_a_forged_report_is_refused(tiny: Bundle, report: str) -> None:
    """`events.report` may hold anything that JSON can: what it cannot is no bundle, and has no id."""
    text = json.dumps(_merged(tiny.manifest.data(), {"events": {"report": 12345}})).replace("12345", report)
    with pytest.raises(BundleError, match=r"is not JSON .*export the bundle again"):
        parse(text, "bundle.json")


def test_a_message_stays_short_and_on_one_line(tiny: Bundle) -> None:
    """Names of a thousand unknown keys, with line breaks in them, are not repeated."""
    text = json.dumps({**tiny.manifest.data(), **{f"a\n{number}": 1 for number in range(1000)}})
    with pytest.raises(BundleError, match="and 995 more") as caught:
        parse(text, "bundle.json")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["", "[]", "{", '"bundle"'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    """Broken JSON, and JSON that is no object, are bundle errors."""
    with pytest.raises(BundleError, match="export the bundle again"):
        parse(text, "bundle.json")


def test_another_schema_is_incompatible_before_it_is_wrong(tiny: Bundle) -> None:
    """A manifest of a later schema is told apart from a damaged one, whatever fields it has."""
    with pytest.raises(IncompatibleBundle, match="schema 2"):
        parse(json.dumps({"schema": 2, "new": 1}), "bundle.json")


def test_label_settings_lie_over_the_defaults() -> None:
    """A label's own values win, the rest comes from the defaults, and other labels have the defaults."""
    events = Events(defaults=DEFAULTS, labels={"run": EventOverride(enter=0.9, confirm=3)})
    assert events.settings("run") == DEFAULTS.model_copy(update={"enter": 0.9, "confirm": 3})
    assert events.settings("walk") == DEFAULTS


def test_an_override_that_contradicts_the_defaults_is_refused() -> None:
    """A label whose enter falls below the default exit is found when the manifest is read, not when it runs."""
    with pytest.raises(ValidationError, match="exit must not be above enter"):
        Events(defaults=DEFAULTS, labels={"run": EventOverride(enter=0.1)})


def test_a_manifest_cannot_be_changed(tiny: Bundle) -> None:
    """Manifests are values."""
    with pytest.raises(ValidationError, match="frozen"):
        tiny.manifest.version = "2"  # type: ignore[misc]


def test_nan_is_no_setting() -> None:
    """A scale that is not a number is refused."""
    with pytest.raises(ValidationError):
        Score(logit_scale=float("nan"))


def test_examples_are_of_bundles_with_items(tiny: Bundle) -> None:
    """A clip bundle has none to compare; a frame bundle says how, and its enrolment belongs to its space."""
    said = {"length": 8, "matching": "frame-wise", "temperature": 0.1, "beta": 0.5}
    data = tiny.manifest.data()
    made = Manifest.model_validate(data | {"examples": said})
    assert "enrol.onnx" in made.file_names and "prototypes.npz" not in made.file_names
    with pytest.raises(ValidationError, match="a clip bundle has none"):
        Manifest.model_validate(data | {"examples": said, "kind": "clip"})
    files = tiny.manifest.files
    assert space_id(files | {"enrol.onnx": "0" * 64}, "frame") != space_id(files, "frame") == tiny.manifest.space.id


def test_a_manifest_needs_no_hashes_before_it_is_written(tiny: Bundle) -> None:
    """The trainer builds a manifest by field names, without ids and hashes."""
    data = tiny.manifest.model_dump(exclude={"schema_version", "id", "sealed", "files"})
    assert Manifest(**data).id == "draft"


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        merged[key] = (
            _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        )
    return merged
