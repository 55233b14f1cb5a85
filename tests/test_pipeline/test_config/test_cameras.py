"""Cameras: passwords from the environment, and urls that are not mistaken for paths."""

from pathlib import Path

import pytest

from pipeline.config.reading import load
from pipeline.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "value", "expected"),
    [
        ("rtsp://viewer:${DOOR}@10.0.0.7/s", "p/w#1", "rtsp://viewer:p%2Fw%231@10.0.0.7/s"),
        ("rtsp://viewer:${DOOR}@10.0.0.7/s", "100%25?@", "rtsp://viewer:100%2525%3F%40@10.0.0.7/s"),
        ("rtsp://${DOOR}@10.0.0.7/s", "viewer:p/w", "rtsp://viewer:p%2Fw@10.0.0.7/s"),
        ("rtsp://10.0.0.7/user=a_password=${DOOR}@1", "p/w", "rtsp://10.0.0.7/user=a_password=p/w@1"),
        ("${DOOR}", "rtsp://viewer:p%2Fw@10.0.0.7/s", "rtsp://viewer:p%2Fw@10.0.0.7/s"),
        ("${DOOR}/a@b.mp4", "/clips", "/clips/a@b.mp4"),
    ],
)
def test_a_variable_holds_a_password_as_a_person_types_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, url: str, value: str, expected: str
) -> None:
    """Before the @ of a URL a value is percent-encoded, whatever it looks like; elsewhere it goes in unchanged."""
    monkeypatch.setenv("DOOR", value)
    file.write_text(f"cameras: {{door: {{url: '{url}'}}}}")

    assert load().cameras["door"].url.get_secret_value() == expected


@pytest.mark.parametrize(
    "url", ["u:hunter2@h/1", "rtsp:/u:hunter2@h/1", "u_x:hun/ter2@h", "${LOGIN}@h/1", "u:hunter2@rtsp://h"]
)
def test_a_login_without_a_scheme_is_refused_and_not_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Without rtsp:// before it a login would be part of the path of a file, and paths are shown."""
    monkeypatch.setenv("LOGIN", "u:hunter2")
    file.write_text(f"cameras: {{door: {{url: '{url}'}}}}")

    with pytest.raises(ConfigurationError, match=r"cameras\.door\.url: .*rtsp://user:password@host") as caught:
        load(file)

    assert "hun" not in str(caught.value)


@pytest.mark.parametrize("url", ["clips/12:30.mp4", "/clips/a:b@c.mp4", "/dev/v4l/by-path/pci-0:14.0", "./12:30.mp4"])
def test_a_path_may_hold_a_colon(file: Path, url: str) -> None:
    """After the first slash a colon is part of a name."""
    file.write_text(f"cameras: {{door: {{url: '{url}'}}}}")

    assert load(file).cameras["door"].url.get_secret_value() == url
