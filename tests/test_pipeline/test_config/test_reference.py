"""The settings reference: complete, and a settings file itself."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pipeline.config.cameras import CameraSettings
from pipeline.config.labels import LabelSettings
from pipeline.config.reading import load
from pipeline.config.reference import Setting, as_document, as_yaml, groups
from pipeline.config.settings import Settings

SETTINGS = tuple(one for group in groups() for one in group.settings)


def keys_of_the_models() -> set[str]:
    """Every key by its full name, found without the help of the reference."""
    found: set[str] = set()
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            found |= {f"{name}.{key}" for key in type(field.default).model_fields}
        elif name not in ("cameras", "labels"):
            found.add(name)
    found |= {f"cameras.ID.{key}" for key in CameraSettings.model_fields}
    return found | {f"labels[].{key}" for key in LabelSettings.model_fields}


def uncommented(text: str) -> str:
    """The reference with its examples made part of the file; sentences begin with `# ` and one more letter."""
    return re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE)


def test_every_key_of_every_section_is_there() -> None:
    """The reference is made from the models, so it can leave nothing out."""
    assert {one.key for one in SETTINGS} == keys_of_the_models()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: one.key)
def test_every_key_has_a_sentence_and_a_type(setting: Setting) -> None:
    """One line that ends like a sentence; a stranger can read it without the source."""
    assert re.fullmatch(r"\S.{9,118}\.", setting.sentence)
    assert setting.type


def test_every_section_has_a_sentence() -> None:
    """What a section is for stands above it."""
    assert all(group.sentence.endswith(".") for group in groups() if group.name)


@pytest.mark.parametrize("suffix", ["seconds", "milliseconds", "minutes", "days", "bytes"])
def test_a_unit_in_a_name_is_the_unit_that_is_printed(suffix: str) -> None:
    """The name and the printed unit cannot contradict each other."""
    named = [one for one in SETTINGS if one.key.endswith("_" + suffix)]

    assert named
    assert {one.unit for one in named} == {suffix}


def test_numbers_without_a_unit_are_few() -> None:
    """Ports, ranks and JPEG's quality have none; a new number without a unit is an oversight."""
    numbers = {one.key for one in SETTINGS if re.match("integer|number", one.type) and one.unit is None}

    assert numbers == {"ingest.jpeg_quality", "http.worker_port", "http.ingest_port", "cameras.ID.priority"}


def test_it_is_a_settings_file_that_changes_nothing(file: Path) -> None:
    """Whoever starts from it has the defaults."""
    file.write_text("")
    defaults = load(file)
    file.write_text(as_yaml())

    assert load(file) == defaults
    assert yaml.safe_load(as_yaml()).keys() == Settings.model_fields.keys() - {"cameras", "labels"}


def test_its_examples_are_valid_too(file: Path) -> None:
    """Without the `#` before them, the camera and the label are settings."""
    file.write_text(uncommented(as_yaml()))

    found = load(file)

    assert found.cameras["front-door"].url.get_secret_value() == "rtsp://viewer:s3cret@10.0.0.7/stream1"
    assert found.cameras["front-door"].model_fields_set == CameraSettings.model_fields.keys()
    assert [label.text for label in found.labels] == ["a person falls down"]
    assert found.labels[0].model_fields_set == LabelSettings.model_fields.keys()


def test_it_shows_defaults_and_never_what_is_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password of the environment or the file has no way into the reference."""
    file.write_text("kafka: {username: alice}")
    monkeypatch.setenv("ACTIONWIRE_KAFKA__PASSWORD", "hunter2")

    shown = as_yaml() + str(as_document())

    assert "hunter2" not in shown and "alice" not in shown and "s3cret" not in shown
    assert next(one for one in SETTINGS if one.key == "kafka.password").type == "secret text or null"


def test_the_variable_that_it_names_sets_the_key(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of a camera or a label have none: their section is one variable."""
    variables = {one["key"]: one["environment"] for one in as_document()["settings"]}
    monkeypatch.setenv(variables["log.level"], "debug")
    monkeypatch.setenv(variables["rate"], "7")

    assert (load().log.level, load().rate) == ("debug", 7)
    assert variables["cameras.ID.url"] is None and variables["labels[].text"] is None


def test_defaults_in_the_document_are_those_in_the_file() -> None:
    """Both forms say the same."""
    document = {one["key"]: one["default"] for one in as_document()["settings"]}

    for section, keys in yaml.safe_load(as_yaml()).items():
        for key, value in keys.items() if isinstance(keys, dict) else [(None, keys)]:
            assert document[f"{section}.{key}" if key else section] == value
