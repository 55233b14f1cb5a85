import base64
from hashlib import md5

import pytest

from pipeline.local.rtsp.protocol import (
    Login,
    Request,
    authorised,
    challenge,
    interleaved_channels,
    parse_request,
    response,
    session_description,
)

URL = "rtsp://127.0.0.1:554/door"


def digest(user: str, password: str, method: str, nonce: str) -> str:
    """An Authorization header as RFC 2617 section 3.2.2 computes it, without qop."""
    one, two = (md5(text.encode()).hexdigest() for text in (f"{user}:actionwire:{password}", f"{method}:{URL}"))
    answer = md5(f"{one}:{nonce}:{two}".encode()).hexdigest()
    return f'Digest username="{user}", realm="actionwire", nonce="{nonce}", uri="{URL}", response="{answer}"'


def test_a_request_is_read_with_its_headers() -> None:
    """Method, path without the track, and headers by lower-case name come out of a request."""
    request = parse_request(f"SETUP {URL}/track1 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP")

    assert (request.method, request.path) == ("SETUP", "door")
    assert request.headers == {"cseq": "3", "transport": "RTP/AVP/TCP"}


def test_a_response_counts_the_bytes_of_its_body() -> None:
    """A body is announced by its length in bytes."""
    found = response(200, "7", {"Content-Type": "text/plain"}, "née").decode()

    assert found == "RTSP/1.0 200 OK\r\nCSeq: 7\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nnée"


def test_the_description_names_codec_and_parameter_sets() -> None:
    """The SDP has one H.264 section with profile and base64 parameter sets."""
    text = session_description(b"\x67\x42\xc0\x1f", b"\x68\xce")

    assert "m=video 0 RTP/AVP 96\r\n" in text
    assert "profile-level-id=42c01f" in text
    assert f"sprop-parameter-sets={base64.b64encode(bytes.fromhex('6742c01f')).decode()}," in text


@pytest.mark.parametrize(
    ("transport", "channels"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3", (2, 3)),
        ("RTP/AVP/TCP;unicast", (0, 1)),
        ("RTP/AVP/UDP;unicast;client_port=5000-5001", None),
        ("", None),
    ],
)
def test_only_tcp_is_taken(transport: str, channels: tuple[int, int] | None) -> None:
    """A Transport header gives the channels, or nothing when it asks for UDP."""
    assert interleaved_channels(transport) == channels


@pytest.mark.parametrize(
    ("user", "password", "method", "nonce", "expected"),
    [
        ("ann", "s3cret", "DESCRIBE", "n1", True),
        ("ann", "wrong", "DESCRIBE", "n1", False),
        ("bob", "s3cret", "DESCRIBE", "n1", False),
        ("ann", "s3cret", "PLAY", "n1", False),
        ("ann", "s3cret", "DESCRIBE", "stale", False),
    ],
)
def test_digest_login(user: str, password: str, method: str, nonce: str, expected: bool) -> None:
    """Only the right user, password, method and nonce are let in."""
    header = digest(user, password, method, nonce)
    request = Request("DESCRIBE", URL, {"authorization": header})

    assert authorised(Login("ann", "s3cret"), request, "n1") is expected


def test_basic_login() -> None:
    """Basic compares user and password, and a digest header does not pass for it."""
    login = Login("ann", "s3cret", "basic")
    right = "Basic " + base64.b64encode(b"ann:s3cret").decode()

    assert authorised(login, Request("PLAY", URL, {"authorization": right}), "n")
    assert not authorised(login, Request("PLAY", URL, {"authorization": right[:-2]}), "n")
    assert not authorised(login, Request("PLAY", URL, {}), "n")
    assert challenge(login, "n") == ['Basic realm="actionwire"']
    assert challenge(Login("ann", "s3cret"), "n") == ['Digest realm="actionwire", nonce="n"']


def test_a_login_does_not_show_itself() -> None:
    """User name and password are not in the repr."""
    assert repr(Login("ann", "s3cret")) == "Login(scheme='digest', challenges=())"
