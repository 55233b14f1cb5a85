"""Faults of a source, in our own words.

PyAV's exceptions carry the whole URL, user name and password included, in their text and in `filename`. So a fault
never holds the foreign exception, not even as its cause, but only its `strerror`, which holds no URL.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import av.error

from pipeline.errors import ActionwireError, AuthenticationError, CameraRefused, CameraUnavailable

ENDED = "it ended the stream; look at its own log if this repeats"
_AWAY = "is it switched on, and are address and port right?"
_TABLE: tuple[tuple[type[BaseException], type[ActionwireError], str, str], ...] = (
    # PyAV's class, ours, the reason ("" = PyAV's own words), the remedy
    (av.error.HTTPUnauthorizedError, AuthenticationError, "it refused the login", "check user name and password"),
    (av.error.HTTPForbiddenError, AuthenticationError, "it forbids this stream", "check the rights of this user"),
    (av.error.HTTPNotFoundError, CameraRefused, "it has no stream of this path", "look the path up in its manual"),
    (av.error.HTTPClientError, CameraRefused, "it refused the request", "check path and transport (tcp or udp)"),
    (av.error.HTTPServerError, CameraUnavailable, "it reports a fault of its own", "restart it if this lasts"),
    (av.error.ConnectionRefusedError, CameraUnavailable, "it refuses connections", _AWAY),
    (av.error.ConnectionResetError, CameraUnavailable, "it cut the connection", _AWAY),
    (av.error.ConnectionAbortedError, CameraUnavailable, "it cut the connection", _AWAY),
    (av.error.BrokenPipeError, CameraUnavailable, "it cut the connection", _AWAY),
    (av.error.TimeoutError, CameraUnavailable, "it does not answer", _AWAY),
    (av.error.ExitError, CameraUnavailable, "it does not answer in time", _AWAY),
    (av.error.EOFError, CameraUnavailable, "it ended the stream", "look at its own log if this repeats"),
    (av.error.FileNotFoundError, CameraRefused, "no such file or device", "check the path"),
    (av.error.IsADirectoryError, CameraRefused, "this is a folder", "name a file"),
    (av.error.PermissionError, CameraRefused, "no permission to read it", "check its owner and mode"),
    (av.error.LookupError, CameraRefused, "", "its protocol, format or codec is not supported"),
    (av.error.PatchWelcomeError, CameraRefused, "", "its format or codec is not supported"),
    (
        av.error.InvalidDataError,
        CameraUnavailable,
        "it sent nothing that plays",
        "try it with a video player",
    ),
    (av.error.FFmpegError, CameraUnavailable, "", "try it with a video player"),
)
_REFUSALS = {errno.EPROTONOSUPPORT: "it refuses this transport", errno.EPROTOTYPE: "it refuses this transport"}


def translate(error: av.error.FFmpegError, where: str, *, live: bool) -> ActionwireError:
    """Our error for one of PyAV's. `where` names the source without credentials (see `place_of`)."""
    if error.errno in _REFUSALS:
        return CameraRefused(f"{where}: {_REFUSALS[error.errno]}; set transport to the other of tcp and udp")
    kind, reason, remedy = next(row[1:] for row in _TABLE if isinstance(error, row[0]))
    if not live and kind is CameraUnavailable:
        kind, reason, remedy = CameraRefused, reason.replace("it sent", "it holds"), "check the file"
    return kind(f"{where}: {reason or error.strerror or type(error).__name__}; {remedy}")


_FULL = re.compile(r"busy|too many|bandwidth|maximum|max\b|limit|capacity|no free|in use", re.IGNORECASE)
_STATUS: dict[int, type[av.error.FFmpegError]] = {
    401: av.error.HTTPUnauthorizedError,
    403: av.error.HTTPForbiddenError,
    404: av.error.HTTPNotFoundError,
}


def refusal(where: str, status: int, reason: str, unknown: Sequence[str] = ()) -> ActionwireError | None:
    """Our error for the status of RTSP with which a camera refused a request; None for one that is no refusal.

    unknown: the kinds of login that it asks for, where none of them is known.
    """
    if status < 400:
        return None
    if status == 401 and unknown:
        names = " or ".join(dict.fromkeys(_plain(one) for one in unknown))
        words = f"it asks for a login by {names}, which is not supported"
        return CameraRefused(f"{where}: {words}; allow digest (MD5 or SHA-256) on the camera")
    said = f"{status} {_plain(reason)}".strip()
    if status in (453, 503) or _FULL.search(reason):
        words = f"it serves no more viewers ({said})"
        return CameraUnavailable(f"{where}: {words}; close another client, or restart the camera if there is none")
    foreign = _STATUS.get(status, av.error.HTTPServerError if status >= 500 else av.error.HTTPClientError)
    kind, words, remedy = next(row[1:] for row in _TABLE if issubclass(foreign, row[0]))
    return kind(f"{where}: {words} ({said}); {remedy}")


def unanswered(where: str, seconds: float) -> CameraUnavailable:
    """The error for a source that did not open in time."""
    words = f"it does not answer within {seconds:g} s"
    return CameraUnavailable(f"{where}: {words}; {_AWAY} Raise ingest.open_seconds if it wakes slowly")


def _plain(text: str) -> str:
    """What a camera says, fit for a message of ours."""
    return "".join(sign if sign.isascii() and sign.isprintable() and sign != ";" else " " for sign in text)[:60].strip()


def place_of(url: str) -> str:
    """The name of a source in messages: scheme, host and port of a URL, or the path of a file.

    Path and query are left out, because some cameras take the login there. Whatever precedes an `@` is hidden without a
    scheme too, because a URL that lost its `rtsp://` looks like a path.
    """
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url)
    if scheme is None:
        _, login, rest = url.rpartition("@")
        return f"***@{re.split('[/?#]', rest)[0]}" if login else url
    hidden = f"{scheme[0]}***"
    try:
        parts = urlsplit(url)
        if "@" in parts.path + parts.query + parts.fragment:
            return hidden  # a password holds a raw / ? or #, so what precedes it is no host
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}"
    except ValueError:
        return hidden
