"""A camera that sends JPEGs over HTTP (`multipart/x-mixed-replace`), for the tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_EDGE = "edge"


@contextmanager
def mjpeg_camera(jpegs: Sequence[bytes], fps: float, headers: Sequence[str] = ("type", "length")) -> Iterator[str]:
    """The URL of a camera that shows these pictures in a loop. Cameras leave out what they like.

    headers: what each part has, `type` (Content-Type) and `length` (Content-Length).
    """
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    threading.Thread(target=_accept, args=(listener, stop, jpegs, fps, headers), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/video.mjpg"
    finally:
        stop.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(
    listener: socket.socket, stop: threading.Event, jpegs: Sequence[bytes], fps: float, headers: Sequence[str]
) -> None:
    with suppress(OSError):
        while not stop.is_set():
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, stop, jpegs, fps, headers), daemon=True).start()


def _serve(
    client: socket.socket, stop: threading.Event, jpegs: Sequence[bytes], fps: float, headers: Sequence[str]
) -> None:
    with client, suppress(OSError):
        client.recv(4096)
        answer = f"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--{_EDGE}\r\n\r\n"
        client.sendall(answer.encode())
        number = 0
        while not stop.wait(1 / fps):
            jpeg = jpegs[number % len(jpegs)]
            known = {"type": "Content-Type: image/jpeg\r\n", "length": f"Content-Length: {len(jpeg)}\r\n"}
            lines = f"--{_EDGE}\r\n" + "".join(known[one] for one in headers) + "\r\n"
            client.sendall(lines.encode() + jpeg + b"\r\n")
            number += 1
