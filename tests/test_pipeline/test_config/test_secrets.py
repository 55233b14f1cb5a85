"""Secrets in files: they count as variables of the environment, and a changed one is taken up."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import secrets
from pipeline.config.reading import load
from pipeline.config.settings_file import FileWatch
from pipeline.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets that the environment names."""
    found = tmp_path / "secrets"
    found.mkdir()
    monkeypatch.setenv(secrets.VARIABLE, str(found))
    return found


def settings_file(tmp_path: Path, extra: str = "") -> Path:
    """Settings with one camera, whose password is a secret."""
    file = tmp_path / "actionwire.yaml"
    file.write_text(f"cameras:\n  door:\n    url: rtsp://viewer:${{DOOR_PASSWORD}}@10.0.0.7/1\n{extra}")
    return file


def url(file: Path) -> str:
    """The url of the camera as ingest would open it."""
    return load(file).cameras["door"].url.get_secret_value()


def test_a_camera_takes_its_password_from_a_file(tmp_path: Path, folder: Path) -> None:
    """As a person typed it, without the line break at the end; the environment wins."""
    (folder / "DOOR_PASSWORD").write_text("p@ss/w\n")
    file = settings_file(tmp_path)

    assert url(file) == "rtsp://viewer:p%40ss%2Fw@10.0.0.7/1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOOR_PASSWORD", "other")
        assert url(file) == "rtsp://viewer:other@10.0.0.7/1"


@pytest.mark.parametrize("name", ["ACTIONWIRE_KAFKA__PASSWORD", "actionwire_kafka__password"])
def test_any_setting_may_be_a_file(tmp_path: Path, folder: Path, name: str) -> None:
    """The file is named as its variable; it wins over the settings file, and other files mean nothing."""
    (folder / name).write_text("from-a-file\r\n")
    (folder / "unrelated").write_text("x")
    (folder / "DOOR_PASSWORD").write_text("x")

    found = load(settings_file(tmp_path, "kafka: {password: in-the-yaml}\n")).kafka.password

    assert found is not None and found.get_secret_value() == "from-a-file"


def test_the_settings_may_name_the_folder(tmp_path: Path) -> None:
    """Without a variable `secrets` counts; one that is not there is named, with the remedy."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "DOOR_PASSWORD").write_text("s")

    assert url(settings_file(tmp_path, f"secrets: {tmp_path / 'mine'}\n")) == "rtsp://viewer:s@10.0.0.7/1"
    with pytest.raises(ConfigurationError, match=r"there is no folder .*gone; mount it"):
        url(settings_file(tmp_path, f"secrets: {tmp_path / 'gone'}\n"))


def test_a_secret_that_is_missing_is_named(tmp_path: Path, folder: Path) -> None:
    """The message says where it was looked for, and shows no secret of its neighbours."""
    (folder / "OTHER").write_text("hidden")

    with pytest.raises(ConfigurationError) as raised:
        load(settings_file(tmp_path))

    assert "${DOOR_PASSWORD}" in str(raised.value) and str(folder) in str(raised.value)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 100_000], ids=["no text", "too large"])
def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, folder: Path, content: bytes) -> None:
    """It is named in one line, its content is not."""
    (folder / "DOOR_PASSWORD").write_bytes(content)

    with pytest.raises(ConfigurationError, match=r"the secret .*DOOR_PASSWORD"):
        load(settings_file(tmp_path))


@pytest.mark.parametrize("named", [False, True], ids=["by the environment", "by the settings"])
def test_a_changed_secret_is_taken_up(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """The settings file stays as it is; two looks in a row must see the change, as with an edit."""
    if named:
        monkeypatch.delenv(secrets.VARIABLE)
    (folder / "DOOR_PASSWORD").write_text("old")
    file = settings_file(tmp_path, f"secrets: {folder}\n" if named else "")
    watch = FileWatch(file, lambda: load(file))
    assert watch() is None

    (folder / "DOOR_PASSWORD").write_text("changed")
    looks = [watch(), watch(), watch()]

    assert [one is not None for one in looks] == [False, True, False]
    assert watch.current.cameras["door"].url.get_secret_value() == "rtsp://viewer:changed@10.0.0.7/1"
