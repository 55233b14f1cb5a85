"""Cameras whose login or answers FFmpeg does not understand, over real RTSP."""

import socket
import ssl
import threading
from functools import partial
from typing import Any

import pytest

from pipeline.camera.check import check
from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.camera.tls import TlsConnection
from pipeline.errors import AuthenticationError, CameraRefused, CameraUnavailable
from pipeline.local.rtsp import Login, Media, Mount, RtspServer
from pipeline.local.test_card import number_of
from pipeline.testing import first_pictures

PASSWORD = "p@ss/wörd"
MD5 = 'Digest realm="{realm}", nonce="{nonce}", qop="auth"'
SHA = 'Digest realm="{realm}", nonce="{nonce}", qop="auth", algorithm=SHA-256'
BASIC = 'Basic realm="{realm}"'


def add(server: RtspServer, card: Media, *challenges: str) -> Mount:
    """A camera with this login."""
    return server.add("door", card, login=Login("ann", PASSWORD, challenges=challenges))


def source(server: RtspServer, **settings: Any) -> SourceSettings:
    """The camera, its login right."""
    return SourceSettings(server.url("door"), **{"open_seconds": 5.0, "stall_seconds": 5.0, **settings})


@pytest.mark.parametrize(
    "challenges",
    [
        (MD5, SHA),
        (SHA, MD5),
        (SHA,),
        (f"{MD5}, {SHA}",),
        (BASIC, SHA),
        (SHA.replace("SHA-256", "SHA-256-sess"),),
        (SHA.replace("SHA-256", "SHA-512-256"),),
        (MD5.replace('"auth"', '"auth-int"'),),
        ('Digest realm="{realm}", nonce="{nonce}", algorithm=MD5-sess, qop="auth,auth-int"',),
        ('Digest realm="{realm}", nonce="{nonce}", algorithm=SHA3-512', MD5),
        (MD5, 'Digest realm="{realm}", nonce="{nonce}", algorithm=SHA3-512'),
    ],
)
def test_of_several_challenges_one_that_can_be_answered_is_chosen(
    server: RtspServer, card: Media, challenges: tuple[str, ...]
) -> None:
    """In whatever order and company it stands, the camera plays, and no wrong login is sent on the way."""
    mount = add(server, card, *challenges)

    pictures = first_pictures(source(server), 12)

    assert [number_of(picture.rgb(64)) for picture in pictures] == list(range(12))
    assert all(picture.reference is not None for picture in pictures)
    assert mount.wrong_logins == 0


@pytest.mark.parametrize("challenges", [(), (SHA,), (MD5, SHA), (BASIC, SHA)])
def test_the_same_holds_inside_of_tls(
    own_certificate: ssl.SSLContext, card: Media, challenges: tuple[str, ...]
) -> None:
    """A camera that encrypts, with a certificate of its own: it plays, by FFmpeg's login and by ours."""
    with RtspServer(encrypted=partial(TlsConnection, context=own_certificate, server=True)) as server:
        mount = add(server, card, *challenges)
        assert server.url("door").startswith("rtsps://")

        pictures = first_pictures(source(server), 12)

    assert [number_of(picture.rgb(64)) for picture in pictures] == list(range(12))
    assert all(picture.reference is not None for picture in pictures)
    assert mount.wrong_logins == 0


def test_a_wrong_password_inside_of_tls_is_sent_once(own_certificate: ssl.SSLContext, card: Media) -> None:
    """And called wrong, as anywhere."""
    with RtspServer(encrypted=partial(TlsConnection, context=own_certificate, server=True)) as server:
        mount = add(server, card, SHA)
        with (
            pytest.raises(AuthenticationError, match="refused the login"),
            open_source(SourceSettings(server.url("door").replace("p%40ss", "wr0ng"))),
        ):
            pass

        assert mount.wrong_logins == 1


@pytest.mark.parametrize(
    ("challenge", "name"),
    [('Digest realm="{realm}", nonce="{nonce}", algorithm=SHA3-512', "digest SHA3-512"), ("Negotiate", "negotiate")],
)
def test_a_login_that_is_not_known_is_named(server: RtspServer, card: Media, challenge: str, name: str) -> None:
    """The right password is never called wrong: the true reason is the kind of login."""
    mount = add(server, card, challenge)

    with pytest.raises(CameraRefused, match=f"login by {name}, which is not supported; allow digest"):
        check(source(server), 1)
    assert mount.wrong_logins == 0


@pytest.mark.parametrize("challenges", [(), (BASIC,), (MD5, SHA), (SHA, MD5), (SHA,)])
def test_a_wrong_password_is_sent_once_and_called_wrong(
    server: RtspServer, card: Media, challenges: tuple[str, ...]
) -> None:
    """Each attempt brings one wrong login, whatever the scheme: cameras lock an account after a few."""
    mount = add(server, card, *challenges)
    settings = SourceSettings(server.url("door").replace("p%40ss", "wr0ng"))

    with pytest.raises(AuthenticationError, match="refused the login") as caught, open_source(settings):
        pass

    assert mount.wrong_logins == 1
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("method", ["DESCRIBE", "SETUP", "PLAY"])
@pytest.mark.parametrize("status", [453, 503])
def test_a_camera_that_is_full_says_so(server: RtspServer, card: Media, status: int, method: str) -> None:
    """It serves one client, and says it with this status, at this request: another client must go, and it is tried
    again."""
    mount = add(server, card)
    mount.faults.status, mount.faults.status_of = status, method

    with pytest.raises(CameraUnavailable, match=rf"serves no more viewers \({status} .*\); close another client"):
        check(source(server), 1)


def test_other_refusals_name_their_status(server: RtspServer, card: Media) -> None:
    """What the camera said stands in the message."""
    mount = add(server, card)
    mount.faults.status, mount.faults.status_of = 454, "PLAY"

    with pytest.raises(CameraRefused, match=r"refused the request \(454 Session Not Found\); "):
        check(source(server), 1)


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_an_answer_that_takes_long_is_waited_for(server: RtspServer, card: Media, method: str) -> None:
    """A camera on a battery wakes first: within the limit it plays; beyond it, the message names the setting."""
    mount = add(server, card)
    mount.faults.slow = {method: 0.9}

    assert len(first_pictures(source(server, open_seconds=3.0), 3)) == 3
    with pytest.raises(CameraUnavailable, match=r"does not answer within 0.5 s; .*ingest.open_seconds"):
        check(source(server, open_seconds=0.5), 1)


def test_a_camera_that_talks_nonsense_to_the_relay_ends_it() -> None:
    """A refusal, and garbage at the second try: the first fault is reported, and no thread stays."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for garbage in (b"", b"\x00\x01 nonsense"):
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(garbage or b"RTSP/1.0 455 Method Not Valid\r\nCSeq: 1\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    with (
        listener,
        pytest.raises(CameraRefused, match="refused the request"),
        open_source(SourceSettings(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x", open_seconds=2.0)),
    ):
        pass
    assert not [one.name for one in threading.enumerate() if one.name.startswith("rtsp-relay")]
