import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.commands.camera import app
from pipeline.errors import AuthenticationError, CameraRefused, CameraUnavailable, ConfigurationError
from pipeline.local.rtsp import Login, Media, RtspServer

runner = CliRunner()


def test_check_prints_what_to_know(server: RtspServer, card: Media, tmp_path: Path) -> None:
    """A camera of the settings is checked by its id; the table names its figures and no password."""
    server.add("door", card, login=Login("annabel", "s3cret"))
    config = tmp_path / "actionwire.yaml"
    config.write_text(f"cameras: {{front: {{url: '{server.url('door')}'}}}}")

    result = runner.invoke(app, ["check", "front", "--seconds", "1.5", "--config", str(config)])

    assert result.exit_code == 0, result.output
    for part in ("h264", "320 x 240", "sender reports", "latency"):
        assert part in result.output
    assert "s3cret" not in result.output
    assert "annabel" not in result.output


def test_check_prints_json(server: RtspServer, card: Media) -> None:
    """With --json one document is printed, and nothing else."""
    server.add("door", card)

    result = runner.invoke(app, ["check", server.url("door"), "--seconds", "1", "--json"])

    document = json.loads(result.stdout)
    assert (result.exit_code, document["codec"], document["fault"]) == (0, "h264", None)


def test_check_of_a_silent_camera_fails(server: RtspServer, card: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that opens and gives no picture ends with exit code 1 and says so."""
    monkeypatch.setenv("ACTIONWIRE_INGEST__STALL_SECONDS", "0.4")
    monkeypatch.setenv("ACTIONWIRE_INGEST__OPEN_SECONDS", "0.4")
    server.add("door", card).faults.loss = 1.0

    result = runner.invoke(app, ["check", server.url("door"), "--seconds", "2"])

    assert result.exit_code == 1
    assert "no picture" in result.output


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("login", AuthenticationError),
        ("path", CameraRefused),
        ("transport", CameraRefused),
        ("port", CameraUnavailable),
    ],
)
def test_check_of_a_camera_that_does_not_open(
    server: RtspServer, card: Media, change: str, expected: type[Exception]
) -> None:
    """Login, path and transport refused are for a person to mend; a port nobody listens on may be tried again."""
    server.add("door", card, login=Login("ann", "s3cret"))
    url = {"login": server.url("door", login=False), "path": server.url("door") + "x", "port": "rtsp://127.0.0.1:1/x"}

    result = runner.invoke(
        app, ["check", url.get(change, server.url("door")), *(["--transport", "udp"] if change == "transport" else [])]
    )

    assert isinstance(result.exception, expected)


def test_check_reads_a_password_from_the_environment(
    server: RtspServer, card: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """${NAME} in the url is replaced; a missing variable is named and the url is not shown."""
    server.add("door", card, login=Login("ann", "s3cret"))
    url = server.url("door").replace("s3cret", "${DOOR_PASSWORD}")

    missing = runner.invoke(app, ["check", url])
    monkeypatch.setenv("DOOR_PASSWORD", "s3cret")
    found = runner.invoke(app, ["check", url, "--seconds", "1", "--json"])

    assert isinstance(missing.exception, ConfigurationError)
    assert "DOOR_PASSWORD" in str(missing.exception)
    assert "rtsp" not in str(missing.exception)
    assert found.exit_code == 0


def test_serve_plays_a_file_until_it_is_interrupted(card_file: Path) -> None:
    """The command prints the url, asks for the login of the environment, and ends cleanly on a signal."""
    code = "from pipeline.commands.camera import app; app()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(card_file), "--port", "0", "--path", "door"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ACTIONWIRE_CAMERA_LOGIN": "ann:s3cret"},
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        with open_source(SourceSettings(url.replace("rtsp://", "rtsp://ann:s3cret@"))) as source:
            assert any(picture for picture, _ in zip(source.pictures(), range(10), strict=False))
        with pytest.raises(AuthenticationError), open_source(SourceSettings(url)):
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 0
    assert "s3cret" not in url + out + err


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("ann:s3cret@10.0.0.7/1", "write rtsp://"), ("rtsp://ann:${NOT_SET}@10.0.0.7/1", "not set .*; set it first$")],
)
def test_check_names_what_is_wrong_with_a_url(url: str, remedy: str) -> None:
    """A url that cannot be meant is refused with its remedy, before anything is opened, and not shown."""
    result = runner.invoke(app, ["check", url])

    assert isinstance(result.exception, ConfigurationError)
    assert re.search(remedy, str(result.exception))
    assert "s3cret" not in str(result.exception) + result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.mp4"], "missing.mp4"),
        (["a.mp4", "b.mp4", "--path", "door"], "several files"),
    ],
)
def test_serve_names_what_is_wrong(arguments: list[str], reason: str) -> None:
    """A missing file and contradicting options are named."""
    result = runner.invoke(app, ["serve", *arguments, "--port", "0"])

    assert isinstance(result.exception, ConfigurationError)
    assert reason in str(result.exception)


def test_serve_refuses_two_files_of_one_name(card_file: Path, tmp_path: Path) -> None:
    """The second would take the place of the first, whose viewers would see another camera."""
    other = tmp_path / card_file.name
    other.symlink_to(card_file)

    result = runner.invoke(app, ["serve", str(card_file), str(other), "--port", "0"])

    assert isinstance(result.exception, ConfigurationError)
    assert "two files would be camera" in str(result.exception)


def test_serve_refuses_half_a_login(card_file: Path) -> None:
    """A login without a password is refused, not silently open."""
    result = runner.invoke(app, ["serve", str(card_file), "--port", "0", "--login", "ann"])

    assert isinstance(result.exception, ConfigurationError)
