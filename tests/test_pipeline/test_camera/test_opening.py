"""How sources are found and opened: names of files, schemes, MJPEG over HTTP."""

import socket
import threading
from pathlib import Path

import pytest

from pipeline.camera.check import check
from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import CameraRefused
from pipeline.local.rtsp import Login, Media, RtspServer
from pipeline.local.test_card import draw, number_of, write_test_card
from pipeline.records.jpeg import encode_jpeg
from pipeline.testing import first_pictures, mjpeg_camera


@pytest.mark.parametrize(
    ("url", "address", "live"),
    [
        ("RTSP://10.0.0.7/cam", "rtsp://10.0.0.7/cam", True),
        ("Rtsps://User:Pass@10.0.0.7/Cam", "rtsps://User:Pass@10.0.0.7/Cam", True),
        ("HTTP://10.0.0.7/mjpg", "http://10.0.0.7/mjpg", True),
        ("10:15:02.mp4", "file:10:15:02.mp4", False),
        ("rtsp:door.mp4", "file:rtsp:door.mp4", False),
        ("clips/100%/#1 'größe'.mp4", "file:clips/100%/#1 'größe'.mp4", False),
        ("/dev/video0", "/dev/video0", True),
        ("a b://c.mp4", "file:a b://c.mp4", False),
    ],
)
def test_a_scheme_is_a_scheme_and_a_path_a_path(url: str, address: str, live: bool) -> None:
    """Schemes come in any letters; whatever is no URL and no device is a path, colons and all."""
    source = SourceSettings(url)

    assert (source.address, source.live) == (address, live)


@pytest.mark.parametrize(
    "name", ["10:15:02.mp4", "rtsp:door.mp4", "concat:a|b.mp4", "100% #1 'größe'.mp4", "%03d.mp4", "http:__x.mp4"]
)
def test_names_that_recorders_write_play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Times of the day, protocols and signs that mean something to FFmpeg are parts of a file's name."""
    write_test_card(tmp_path / "card.mp4", seconds=0.4, width=160, height=120).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    assert len(first_pictures(SourceSettings(name), 5)) == 5


def test_a_scheme_in_other_letters_plays(server: RtspServer, card: Media) -> None:
    """And the place that messages show holds no login."""
    server.add("door", card, login=Login("ann", "s3cret"))
    settings = SourceSettings(server.url("door").replace("rtsp", "RtSp"))

    assert len(first_pictures(settings, 3)) == 3
    assert settings.where == f"rtsp://127.0.0.1:{server.port}"


JPEGS = [encode_jpeg(draw(number, 160, 120), 85) for number in range(50)]


@pytest.mark.parametrize("headers", [("type", "length"), ("type",), ("length",), ()])
def test_mjpeg_over_http_is_timed_by_arrival(headers: tuple[str, ...]) -> None:
    """FFmpeg stamps such pictures 25 a second, whatever they are: those stamps are not used, and a check says so. Parts
    may come with or without their type and length."""
    with mjpeg_camera(JPEGS, 10, headers) as url:
        report = check(SourceSettings(url), 1.5)
        pictures = first_pictures(SourceSettings(url), 8)

    assert {picture.pts for picture in pictures} == {None}
    numbers = [number_of(picture.rgb(120)) for picture in pictures]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert report.fps == pytest.approx(10, abs=1.5)
    assert report.sessions == 1
    assert any("there are none: capture times are times of arrival" in remark for remark in report.remarks)


def test_what_is_no_video_is_said_of_http_too() -> None:
    """A server that sends something else is refused in one line."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    with (
        listener,
        pytest.raises(CameraRefused, match="no stream of this path"),
        open_source(SourceSettings(f"http://127.0.0.1:{listener.getsockname()[1]}/x")),
    ):
        pass
