import traceback

import av.error
import pytest

from pipeline.camera.errors import place_of, translate
from pipeline.errors import ActionwireError, AuthenticationError, CameraRefused, CameraUnavailable

WHERE = "rtsp://10.0.0.7:554"


@pytest.mark.parametrize("foreign", [kind for kind in av.error.classes.values() if isinstance(kind, type)])
def test_every_error_of_pyav_is_translated(foreign: type[av.error.FFmpegError]) -> None:
    """Each class of PyAV becomes one of ours that names the camera, a reason and a remedy, and no URL."""
    error = foreign(1, "some words", "rtsp://ann:s3cret@10.0.0.7/stream")

    ours = translate(error, WHERE, live=True)

    assert isinstance(ours, CameraUnavailable | CameraRefused | AuthenticationError)
    assert str(ours).startswith(WHERE + ": ")
    assert len(str(ours).split("; ")) == 2
    assert "s3cret" not in str(ours)


@pytest.mark.parametrize(
    ("foreign", "live", "expected"),
    [
        (av.error.HTTPUnauthorizedError, True, AuthenticationError),
        (av.error.HTTPNotFoundError, True, CameraRefused),
        (av.error.HTTPServerError, True, CameraUnavailable),
        (av.error.ConnectionRefusedError, True, CameraUnavailable),
        (av.error.InvalidDataError, True, CameraUnavailable),
        (av.error.InvalidDataError, False, CameraRefused),
        (av.error.FileNotFoundError, False, CameraRefused),
        (av.error.DecoderNotFoundError, True, CameraRefused),
    ],
)
def test_what_is_worth_a_retry(
    foreign: type[av.error.FFmpegError], live: bool, expected: type[ActionwireError]
) -> None:
    """A camera that is away is tried again soon; one that refuses needs a person, and so does a broken file."""
    assert type(translate(foreign(1, "words"), WHERE, live=live)) is expected


def test_a_refused_transport_is_named() -> None:
    """Protocol not supported (461 on the wire) has the remedy to change the transport."""
    ours = translate(av.error.OSError(93, "Protocol not supported"), WHERE, live=True)

    assert isinstance(ours, CameraRefused)
    assert "transport" in str(ours)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://ann:s3c@ret@10.0.0.7:554/live?user=ann&password=s3cret", "rtsp://10.0.0.7:554"),
        ("rtsp://10.0.0.7/user=ann_password=s3cret_channel=1", "rtsp://10.0.0.7"),
        ("rtsp://ann:s3cret@[fe80::1]:554/x", "rtsp://fe80::1:554"),
        ("rtsp://ann:s3cret@host:port/x", "rtsp://***"),
        ("rtsp://viewer:2024/Summer@10.0.0.7/s", "rtsp://***"),
        ("rtsp://viewer:12#x@10.0.0.7/s", "rtsp://***"),
        ("rtsp://viewer:p@ss/word@10.0.0.7/s", "rtsp://***"),
        ("ann:s3cret@10.0.0.7/stream1", "***@10.0.0.7"),
        ("rtsp:/ann:s3c@ret@10.0.0.7:554?password=s3cret", "***@10.0.0.7:554"),
        ("ann:s3cret@rtsp://10.0.0.7/stream1", "***@rtsp:"),
        ("clips/front door.mp4", "clips/front door.mp4"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_a_place_holds_no_credentials(url: str, expected: str) -> None:
    """Only scheme, host and port of a URL are shown; credentials also hide in its path and query, and in a URL that
    was written without its scheme."""
    assert place_of(url) == expected


def test_a_traceback_shows_no_credentials() -> None:
    """The error carries no foreign exception, neither as cause nor as context, so a traceback shows no URL."""
    from pipeline.camera.source import open_source
    from pipeline.camera.source_settings import SourceSettings

    settings = SourceSettings("rtsp://ann:s3cret@127.0.0.1:1/live", open_seconds=1)
    with pytest.raises(CameraUnavailable) as caught, open_source(settings):
        pass

    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    text = "".join(traceback.format_exception(error)) + repr(error) + repr(settings)
    assert "s3cret" not in text
    assert "ann" not in text.replace("channel", "")
