"""Settings: file, environment, overrides, and errors that help."""

from pathlib import Path

import pytest

from pipeline.config import load, watches
from pipeline.errors import ConfigurationError

THREE_LINES = """
cameras:
  front-door:
    url: rtsp://viewer:${DOOR_PASSWORD}@10.0.0.7/stream1
labels:
  - a person falls down
  - {text: two people fight, cameras: ["front-*"], enter: 0.7}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the README's first camera, away from any other configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTIONWIRE_CONFIG", raising=False)
    monkeypatch.setenv("DOOR_PASSWORD", "s3cret")
    path = tmp_path / "actionwire.yaml"
    path.write_text(THREE_LINES)
    return path


def test_a_camera_in_three_lines_and_an_action_in_one(file: Path) -> None:
    """The README's first file loads, found in the working folder without being named."""
    settings = load()

    assert settings.cameras["front-door"].url.get_secret_value() == "rtsp://viewer:s3cret@10.0.0.7/stream1"
    assert [label.text for label in settings.labels] == ["a person falls down", "two people fight"]
    assert settings.labels[1].enter == 0.7


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nested variable replaces one key and leaves its neighbours alone."""
    file.write_text("kafka: {bootstrap: 'file:9092', username: me}\n")
    monkeypatch.setenv("ACTIONWIRE_KAFKA__BOOTSTRAP", "environment:9092")

    kafka = load().kafka

    assert (kafka.bootstrap, kafka.username) == ("environment:9092", "me")


def test_overrides_win_over_everything_and_are_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command-line options come last and are validated like the rest."""
    monkeypatch.setenv("ACTIONWIRE_KAFKA__BOOTSTRAP", "environment:9092")

    assert load(None, {"kafka": {"bootstrap": "option:9092"}}).kafka.bootstrap == "option:9092"
    with pytest.raises(ConfigurationError, match=r"batch_frames"):
        load(None, {"worker": {"batch_frames": 0}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("worker: {bundel: demo}", r"worker\.bundel: unknown key, did you mean 'bundle'"),
        ("lables: [x]", r"lables: unknown key, did you mean 'labels'"),
        ("cameras: {a: {url: x, transprot: udp}}", r"cameras\.a\.transprot: unknown key, did you mean 'transport'"),
        ("labels: [{text: x, entre: 0.5}]", r"labels\.0\.entre: unknown key, did you mean 'enter'"),
        ("rate: many", r"rate: .*integer"),
        ("cameras: {a: {url: 'rtsp://u:${NOT_SET}@h'}}", r"NOT_SET.*not set in the environment"),
        ("cameras: {'bad id!': {url: x}}", r"cameras\.bad id!"),
        ("- just\n- a list", r"must hold a mapping"),
        ("a: [1", r"is not YAML: .*line 1"),
    ],
)
def test_a_wrong_file_names_key_reason_and_remedy(file: Path, content: str, message: str) -> None:
    """Every mistake is named where it stands; a misspelt key gets the nearest right one."""
    file.write_text(content)

    with pytest.raises(ConfigurationError, match=message):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that was asked for and is not there is an error, not an empty configuration."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml.*--config"):
        load(tmp_path / "nowhere.yaml")


def test_secrets_do_not_show(file: Path) -> None:
    """Neither a representation nor an error message holds a password."""
    shown = repr(load())
    file.write_text("cameras: {a: {url: 'rtsp://u:hunter2@h', nonsense: 1}}\nkafka: {password: [hunter2]}\n")

    with pytest.raises(ConfigurationError) as caught:
        load(file)

    assert "s3cret" not in shown
    assert "hunter2" not in str(caught.value)


def test_settings_are_frozen(file: Path) -> None:
    """Nobody changes a setting behind another's back."""
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.kafka.bootstrap = "elsewhere:9092"  # type: ignore[misc]


def test_globs_name_cameras() -> None:
    """A label's cameras are ids or globs, and case matters."""
    assert watches(("front-*", "yard"), "front-door")
    assert watches(("*",), "anything")
    assert not watches(("front-*",), "Front-door")
