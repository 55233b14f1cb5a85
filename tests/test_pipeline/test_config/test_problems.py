"""Settings as people write them: taken as they are meant, or refused in words that show the form that is wanted."""

from pathlib import Path

import pytest

from pipeline.config.reading import load
from pipeline.errors import ConfigurationError


@pytest.mark.parametrize(
    "name", ["101", "0012", "0x65", "1_000", "1e3", "1.5", "on", "No", "true", "null", "2026-05-01"]
)
def test_an_id_is_taken_as_it_is_written(file: Path, name: str) -> None:
    """YAML takes these for numbers, truth values and dates; as the name of a camera they are names."""
    file.write_text(f"cameras:\n  {name}:\n    url: rtsp://10.0.0.7/1\n  'door': {{url: x}}\n")

    assert list(load(file).cameras) == [name, "door"]


@pytest.mark.parametrize("name", ["~", "1:30", ".5", "café", "a b", "-1"])
def test_an_id_that_is_none_is_named_with_what_an_id_is(file: Path, name: str) -> None:
    """It travels as a key and as a label of metrics, so it has letters, digits, and three marks."""
    file.write_text(f"cameras:\n  {name}:\n    url: rtsp://10.0.0.7/1\n")

    with pytest.raises(ConfigurationError) as caught:
        load(file)

    assert f"cameras.{name}: an id begins with a letter or digit" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("cameras:\n  door: {url}", "cameras.door: it is a text; write `url:` before its address: `door: {url: "),
        ("cameras:\n  door: [{url}]", "cameras.door: it is a list; write `url:` before"),
        ("cameras:\n  door:\n  - url: {url}", "cameras.door: it is a list; write `url:` before"),
        ("cameras:\n  door:", "cameras.door: it is empty; write `url:` before"),
        ("cameras:\n  door: 101", "cameras.door: it is a number; write `url:` before"),
        ("cameras:\n  url: {url}", "cameras.url: it is a text; the id of a camera belongs here, with url below it"),
        ("cameras:\n- name: door\n  url: {url}", "cameras: it is a list; write each camera as `ID: {url: "),
        ("cameras:\n- {url}", "cameras: it is a list; write each camera as `ID: {url: "),
        ("cameras: {url}", "cameras: it is a text; write each camera as `ID: {url: "),
        ("cameras: {door: {url: [{url}]}}", "cameras.door.url: it is a list, not a text; write one text"),
        ("cameras: {door: {url: 2026-05-01}}", "cameras.door.url: it is a date, not a text; put it in quotes"),
        ("labels: a person falls", "labels: it is a text; write a list of texts, such as `- a person falls down`"),
        ("labels:\n- on", "labels.0: it is a truth value; write a text, in quotes"),
        ("labels:\n- a\n- 5", "labels.1: it is a number; write a text, in quotes"),
        ("labels: [{text: a, id: 5}]", "labels.0.id: it is a number, not a text; put it in quotes"),
        ("kafka: {url}", "kafka: it is a text; write its keys, such as `bootstrap: ...`"),
        ("kafka: {username: 101}", "kafka.username: it is a number, not a text; put it in quotes"),
        ("kafka: {password: 815}", "kafka.password: it is a number, not a text; put it in quotes"),
    ],
)
def test_another_form_than_the_wanted_one_is_answered_with_that_form(file: Path, content: str, words: str) -> None:
    """As other programs have it, or with a line forgotten. No value is shown, since it may hold a password."""
    file.write_text(content.replace("{url}", "rtsp://viewer:hunter2@10.0.0.1/1"))

    with pytest.raises(ConfigurationError) as caught:
        load(file)

    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value) and "815" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_empty_label_says_what_a_label_is(file: Path) -> None:
    """A dash with nothing behind it."""
    file.write_text("labels:\n-\n")

    with pytest.raises(ConfigurationError, match=r"labels\.0: it is empty; write a text"):
        load(file)


def test_the_environment_is_answered_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A section as JSON has the same forms."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTIONWIRE_CAMERAS", '{"door": "rtsp://viewer:hunter2@10.0.0.1/1"}')

    with pytest.raises(ConfigurationError, match=r"cameras\.door: it is a text; write `url:`") as caught:
        load()

    assert "hunter2" not in str(caught.value)
