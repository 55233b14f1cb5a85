"""The tree of settings: frozen, and the environment wins."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.config.reading import load, load_file
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError


def test_settings_are_frozen(file: Path) -> None:
    """Nobody changes a setting behind another's back."""
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.kafka.bootstrap = "elsewhere:9092"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "fit"),
    [("off", "off"), ("'off'", "off"), ("auto", "auto"), ("256x456", "256x456")],
)
def test_frames_fit_a_bundle_or_a_size(file: Path, text: str, fit: str) -> None:
    """A bare `off`, which YAML takes for false, is meant as it stands there."""
    file.write_text(f"ingest: {{fit: {text}}}\n")

    assert load().ingest.fit == fit


@pytest.mark.parametrize(
    ("text", "words"), [("300x400", "raise short_side as well"), ("0x4", "fit"), ("true", "fit"), ("4 x 4", "fit")]
)
def test_what_frames_cannot_fit_is_refused(file: Path, text: str, words: str) -> None:
    """A size beyond `short_side` would do nothing."""
    file.write_text(f"ingest: {{fit: {text}}}\n")

    with pytest.raises(ConfigurationError, match=words):
        load(file)


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nested variable replaces one key and leaves its neighbours alone."""
    file.write_text("kafka: {bootstrap: 'file:9092', username: me}\n")
    monkeypatch.setenv("ACTIONWIRE_KAFKA__BOOTSTRAP", "environment:9092")

    kafka = load().kafka

    assert (kafka.bootstrap, kafka.username) == ("environment:9092", "me")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "events: {enter: 0.3, exit: 0.6}\nlabels: [x]",
            r"events: exit 0\.6 is above enter 0\.3, .*lower exit or raise",
        ),
        (
            "events: {exit: 0.6}\nlabels: [y, {text: x, enter: 0.3}]",
            r"labels\.1, 'x': exit 0\.6 of events .* of the label",
        ),
        (
            "events: {enter: 0.3}\nlabels: [{text: x, exit: 0.6}]",
            r"labels\.0, 'x': exit 0\.6 of the label .* of events",
        ),
    ],
)
def test_exit_above_enter_is_refused_wherever_the_two_stand(file: Path, content: str, message: str) -> None:
    """An event would end as it starts, so no worker could watch for the label: the file is refused."""
    file.write_text(content)

    with pytest.raises(ConfigurationError, match=message):
        load(file)


def test_exit_above_enter_is_refused_between_file_and_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The merged tree is checked, so one half may come from the environment."""
    file.write_text("events: {enter: 0.3}\nlabels: [x]")
    monkeypatch.setenv("ACTIONWIRE_EVENTS__EXIT", "0.6")

    with pytest.raises(ConfigurationError, match=r"exit 0\.6 is above enter 0\.3"):
        load(file)


@pytest.mark.parametrize(
    "content",
    [
        "events: {enter: 0.5, exit: 0.5}\nlabels: [x]",
        "events: {exit: 0.6}\nlabels: [x]",
        "events: {enter: 0.3}\nlabels: [{text: x, enter: 0.7, exit: 0.6}]",
        "events: {exit: 0.6}\nlabels: [{text: x, enter: 0.3, exit: 0.2}]",
    ],
)
def test_a_label_may_replace_both_thresholds_of_events(file: Path, content: str) -> None:
    """Only what a label really uses must agree; a threshold that only the bundle knows is not judged here."""
    file.write_text(content)

    assert load(file).labels[0].text == "x"


@pytest.mark.parametrize(
    ("content", "names"),
    [("rate: 4", False), ("labels: []", True), ("labels:", True), ("labels: [a person runs]", True)],
)
def test_no_labels_and_no_word_of_labels_differ(tmp_path: Path, content: str, names: bool) -> None:
    """A file without the section leaves the labels in force alone; an empty one, or its bare name, empties them."""
    file = tmp_path / "actionwire.yaml"
    file.write_text(content)

    assert load(file).names_labels is names
    assert load_file(file).names_labels is names


def test_labels_of_the_environment_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as those of a file, except where a file alone is meant."""
    file = tmp_path / "actionwire.yaml"
    file.write_text("rate: 4")
    monkeypatch.setenv("ACTIONWIRE_LABELS", "[]")

    assert load(file).names_labels
    assert not load_file(file).names_labels


@pytest.mark.parametrize("wrong", ["/größe halle", "", "two words", "100%", "%zz", "a\nb", "<plant>", "ü"])
def test_a_source_that_is_no_uri_reference_is_refused(wrong: str) -> None:
    """It stands in every event as it is; CloudEvents asks for a URI reference."""
    with pytest.raises(ValidationError, match="it is no URI reference"):
        Settings(source=wrong)


@pytest.mark.parametrize(
    "right", ["/gr%C3%B6%C3%9Fe%20halle", "urn:plant:7", "https://plant.example/a?b#c", "//[::1]/x"]
)
def test_uri_references_of_every_form_are_taken(right: str) -> None:
    """Absolute or not, with what is not ASCII as %XX."""
    assert Settings(source=right).source == right
