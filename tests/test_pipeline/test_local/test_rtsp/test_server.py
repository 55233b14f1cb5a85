import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD

import av
import pytest

from pipeline.errors import ConfigurationError
from pipeline.local.rtsp import Login, Media, Mount, RtspServer, load_media
from pipeline.local.test_card import number_of, write_test_card

SECONDS = 10.0
OPTIONS = {"rtsp_transport": "tcp", "analyzeduration": "100000"}


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, up to a deadline."""
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class Client:
    """A plain RTSP client: sends requests, and reads answers and packets as they come."""

    def __init__(self, server: RtspServer) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=SECONDS)
        self._stream = self._socket.makefile("rb")
        self._sequence = 0

    def request(self, method: str, url: str, **headers: str) -> tuple[int, str]:
        """(status, header and body text) of the answer; packets before it are skipped."""
        self._sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sequence}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while (first := self._stream.read(1)) == b"$":
            self._packet()
        text = first.decode()
        while not text.endswith("\r\n\r\n"):
            line = self._stream.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            text += line.decode()
        length = next((int(line.split(":")[1]) for line in text.split("\r\n") if line.startswith("Content-Length")), 0)
        return int(text.split(" ")[1]), text + self._stream.read(length).decode()

    def _packet(self) -> tuple[int, bytes]:
        channel, length = struct.unpack(">BH", self._stream.read(3))
        return channel, self._stream.read(length)

    def waiting(self) -> int:
        """Bytes that have arrived and were not read."""
        count = array("i", [0])
        ioctl(self._socket, FIONREAD, count)
        return count[0]

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """(channel, packet) until the connection ends."""
        while self._stream.read(1) == b"$":
            yield self._packet()

    def play(self, url: str) -> None:
        """Set up and play."""
        self.request("SETUP", url + "/track1", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
        assert self.request("PLAY", url)[0] == 200

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()


@contextmanager
def connected(server: RtspServer) -> Iterator[Client]:
    """A client that hangs up at the end."""
    client = Client(server)
    try:
        yield client
    finally:
        client.close()


def stamps(client: Client, count: int) -> list[int]:
    """RTP time stamps of the next pictures, one for each marker bit."""
    found: list[int] = []
    for channel, packet in client.packets():
        if channel == 0 and packet[1] & 0x80:
            found.append(struct.unpack(">I", packet[4:8])[0])
        if len(found) == count:
            break
    return found


def numbers(url: str, count: int, **options: str) -> list[int]:
    """Numbers of the first pictures that PyAV decodes from a test card."""
    with av.open(url, options=OPTIONS | options, timeout=5) as container:
        frames = container.decode(video=0)
        return [number_of(next(frames).to_ndarray(format="rgb24")) for _ in range(count)]


def test_pyav_plays_every_picture_in_order(server: RtspServer, tmp_path: Path) -> None:
    """The first client gets the file from its first picture on, and the second pass follows without a gap."""
    server.add("door", load_media(write_test_card(tmp_path / "short.mp4", seconds=0.6)))

    assert numbers(server.url("door"), 20) == [number % 15 for number in range(20)]
    assert server.requests["TEARDOWN"] == 1


def test_several_clients_and_paths_play_at_once(server: RtspServer, card: Media) -> None:
    """Two clients of one path and one of another see the same moment of their path."""
    now = time.time()
    mounts = [server.add(name, card, zero=now - 100, first_timestamp=0) for name in ("one", "two/three")]
    with connected(server) as first, connected(server) as second, connected(server) as other:
        for client, name in ((first, "one"), (second, "one"), (other, "two/three")):
            client.play(server.url(name))
        assert eventually(lambda: [server.viewers(mount) for mount in mounts] == [2, 1])

        found = {stamps(client, 1)[0] for client in (first, second, other)}

    assert max(found) - min(found) <= 90_000
    assert eventually(lambda: [server.viewers(mount) for mount in mounts] == [0, 0])


@pytest.mark.parametrize("scheme", ["digest", "basic"])
def test_a_login_is_asked_for(server: RtspServer, card: Media, scheme: str) -> None:
    """With user name and password, odd characters included, PyAV plays; with wrong ones and without it is refused."""
    server.add("door", card, login=Login("an n", "p@ss:w/rd?#1%41+", scheme))  # type: ignore[arg-type]

    assert numbers(server.url("door"), 2) == [0, 1]
    for url in (server.url("door", login=False), server.url("door").replace("p%40ss", "wrong")):
        with pytest.raises(av.error.HTTPUnauthorizedError):
            numbers(url, 1)


def test_requests_out_of_order_are_answered_with_their_status(server: RtspServer, card: Media) -> None:
    """Unknown path 404, UDP 461, PLAY before SETUP 454, unknown method 501; the connection survives them all."""
    server.add("door", card)
    url = server.url("door")
    with connected(server) as client:
        asked = [
            client.request("DESCRIBE", url + "x"),
            client.request("SETUP", url + "/track1", Transport="RTP/AVP;unicast;client_port=5000-5001"),
            client.request("PLAY", url),
            client.request("RECORD", url),
            client.request("OPTIONS", url),
            client.request("GET_PARAMETER", url),
        ]

    assert [status for status, _ in asked] == [404, 461, 454, 501, 200, 200]


def test_the_first_report_precedes_the_first_picture(server: RtspServer, card: Media) -> None:
    """A report comes before any RTP packet and then each second; it maps RTP time to the wall clock of the capture."""
    mount = server.add("door", card, first_timestamp=2**32 - 1000)
    with connected(server) as client:
        client.play(server.url("door"))
        reports, order = [], []
        for channel, packet in client.packets():
            order.append(channel)
            if channel == 1:
                reports.append(struct.unpack(">III", packet[8:20]))
            if len(reports) == 2:
                break

    assert order[0] == 1
    for seconds, fraction, stamp in reports:
        instant = seconds - 2_208_988_800 + fraction / 2**32
        assert (stamp - (2**32 - 1000)) % 2**32 / 90_000 == pytest.approx(instant - (mount.zero or 0), abs=0.001)
    assert 1.0 <= reports[1][0] - reports[0][0] + (reports[1][1] - reports[0][1]) / 2**32 < 5.0


def test_reports_can_be_late_or_missing_and_their_clock_wrong(server: RtspServer, card: Media) -> None:
    """Hooks: no reports, a first report after a delay, and a wall clock that is ahead."""
    mount = server.add("door", card)
    mount.faults.report_delay, mount.faults.report_clock = 0.3, 100.0
    with connected(server) as client:
        client.play(server.url("door"))
        pictures, seconds = 0, 0
        for channel, packet in client.packets():
            pictures += channel == 0 and packet[1] >> 7
            if channel == 1:
                seconds = struct.unpack(">I", packet[8:12])[0] - 2_208_988_800
                break
        mount.faults.reports = False
        time.sleep(1.2)
        client.request("GET_PARAMETER", server.url("door"))
        channels = {channel for (channel, _), _ in zip(client.packets(), range(3), strict=False)}

    assert pictures >= 4
    assert 90 < seconds - time.time() < 110
    assert channels == {0}


def test_a_stall_sends_nothing_and_then_everything(server: RtspServer, card: Media) -> None:
    """After a stall the pictures that were due come in a burst, none is missing.

    sent  | | | | | .......... |||||||||| | | |
    """
    mount = server.add("door", card, first_timestamp=0)
    mount.faults.reports = False
    with connected(server) as client:
        client.play(server.url("door"))
        before = stamps(client, 5)
        mount.faults.stalled = True
        time.sleep(0.1)  # a picture may have been on its way; at 25 pictures a second seven more would follow
        arrived = client.waiting()
        time.sleep(0.3)
        assert client.waiting() == arrived
        mount.faults.stalled = False
        after = stamps(client, 10)

    assert before + after == [number * 3600 for number in range(15)]


def test_the_rtp_clock_can_jump_and_the_source_change(server: RtspServer, card: Media) -> None:
    """A jump moves the time stamps, and a change of source the SSRC, from one packet to the next."""
    mount = server.add("door", card, first_timestamp=0)
    mount.faults.reports = False
    with connected(server) as client:
        client.play(server.url("door"))
        first = next(packet for channel, packet in client.packets() if channel == 0)
        mount.faults.rtp_jump, mount.faults.ssrc_changes = 10.0, 1
        jumped = next(
            packet for channel, packet in client.packets() if struct.unpack(">I", packet[4:8])[0] > 9 * 90_000
        )

    source, changed = (struct.unpack(">I", packet[8:12])[0] for packet in (first, jumped))
    assert changed == (source + 1) % 2**32


@pytest.mark.parametrize(("fault", "expected"), [("loss", "missing"), ("reorder", "swapped")])
def test_packets_can_get_lost_or_change_places(server: RtspServer, card: Media, fault: str, expected: str) -> None:
    """With a tenth of the packets disturbed, sequence numbers are missing, or all there but not in order."""
    mount = server.add("door", card, seed=3)
    mount.faults.reports = False
    setattr(mount.faults, fault, 0.1)
    with connected(server) as client:
        client.play(server.url("door"))
        found = [
            struct.unpack(">H", packet[2:4])[0] for (_, packet), _ in zip(client.packets(), range(40), strict=False)
        ]
    unwrapped = [(number - found[0]) % 2**16 for number in found]

    swapped = unwrapped != sorted(unwrapped)
    missing = max(unwrapped) > 41
    assert (missing, swapped) == ((True, False) if expected == "missing" else (False, True))


def test_another_resolution_in_the_same_connection(server: RtspServer, card: Media, tmp_path: Path) -> None:
    """The picture changes its size in the middle of the stream, as after a change of a camera's settings."""
    small = load_media(write_test_card(tmp_path / "small.mp4", seconds=1, width=160, height=120))
    mount = server.add("door", card)
    sizes: list[int] = []
    with av.open(server.url("door"), options=OPTIONS, timeout=5) as source:
        for frame in source.decode(video=0):
            sizes.append(frame.width)
            if len(sizes) == 5:
                mount.switch(small, time.time())
            if frame.width == 160 or len(sizes) > 80:
                break

    assert (sizes[0], sizes[-1]) == (320, 160)


def test_a_server_that_refuses_answers_badly_or_not_at_all(server: RtspServer, card: Media) -> None:
    """Hooks: refused connections, a status of choice, silence; each can be taken back."""
    mount = server.add("door", card)
    url = server.url("door")
    mount.faults.status = 503
    with pytest.raises(av.error.HTTPServerError):
        numbers(url, 1)
    mount.faults.status, mount.faults.silent = None, True
    with pytest.raises(av.error.FFmpegError), av.open(url, options={"rtsp_transport": "tcp"}, timeout=0.3):
        pass
    mount.faults.silent = False
    server.refuse()
    with pytest.raises(av.error.ConnectionRefusedError):
        numbers(url, 1)
    server.start()

    assert len(numbers(url, 1)) == 1


def test_every_connection_can_be_dropped(server: RtspServer, card: Media) -> None:
    """A dropped client sees its stream end at once; another may connect right away."""
    mount = server.add("door", card)
    with connected(server) as client:
        client.play(server.url("door"))
        stamps(client, 1)
        server.drop(mount)
        rest = list(client.packets())

    assert len(rest) < 20
    assert len(numbers(server.url("door"), 1)) == 1


def test_a_session_without_keep_alive_ends(card: Media) -> None:
    """A playing client that sends nothing for the session's time-out is dropped; one that asks stays."""
    with RtspServer(session_seconds=3) as server:
        server.add("door", card)
        with connected(server) as silent, connected(server) as lively:
            for client in (silent, lively):
                client.play(server.url("door"))
            ended = threading.Event()
            threading.Thread(target=lambda: (list(silent.packets()), ended.set()), daemon=True).start()
            status = 0
            while not ended.is_set():
                status, _ = lively.request("GET_PARAMETER", server.url("door"))
                time.sleep(0.1)

        assert status == 200


@pytest.mark.parametrize("then", ["silent", "close"])
def test_a_file_can_play_once(server: RtspServer, tmp_path: Path, then: str) -> None:
    """After its only pass the connection stays silent or closes."""
    short = load_media(write_test_card(tmp_path / "short.mp4", seconds=0.4, width=160, height=120))
    server.add("door", short, passes=1, then=then, first_timestamp=0)
    with connected(server) as client:
        client.play(server.url("door"))
        assert stamps(client, 10) == [number * 3600 for number in range(10)]
        if then == "close":
            assert list(client.packets()) == []
        else:
            client._socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                next(client.packets())


def test_a_path_that_was_removed_is_not_found(server: RtspServer, card: Media) -> None:
    """Removing a path drops its clients and answers 404 from then on."""
    server.add("door", card)
    url = server.url("door")
    server.remove("door")

    assert server.mount("door") is None
    with pytest.raises(av.error.HTTPNotFoundError):
        numbers(url, 1)


def test_closing_ends_every_thread(card: Media) -> None:
    """Closing a server with clients in every state leaves no thread and no listener behind."""
    server = RtspServer()
    server.start()
    mount: Mount = server.add("door", card)
    mount.faults.stalled = True
    with connected(server) as idle, connected(server) as playing:
        idle.request("OPTIONS", server.url("door"))
        playing.play(server.url("door"))
        server.close()

        assert not [thread for thread in threading.enumerate() if thread.name.startswith("rtsp-")]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), timeout=1)


def test_a_taken_port_is_named(server: RtspServer) -> None:
    """Listening on a port that is taken names the port and the way out."""
    with pytest.raises(ConfigurationError, match=rf"{server.port}.*another port"):
        RtspServer(port=server.port).start()


@pytest.mark.parametrize("length", [str(1 << 40), "64001", "-1", "many"])
def test_a_body_is_bounded_before_any_login(server: RtspServer, length: str) -> None:
    """A stranger who announces a huge or endless body is cut off; the server does not collect what he sends."""
    with socket.create_connection((server.host, server.port), timeout=SECONDS) as client:
        client.sendall(f"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\nbody".encode())

        assert client.recv(1) == b""


def test_a_small_body_is_passed_over(server: RtspServer) -> None:
    """Some clients send parameters; what comes after them is the next request."""
    with socket.create_connection((server.host, server.port), timeout=SECONDS) as client:
        client.sendall(b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nbody")
        client.sendall(b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\n\r\n")
        stream = client.makefile("rb")

        assert [line for line in (stream.readline() for _ in range(8)) if line.startswith(b"CSeq")] == [
            b"CSeq: 1\r\n",
            b"CSeq: 2\r\n",
        ]


def test_methods_that_do_not_exist_leave_nothing_behind(server: RtspServer, card: Media) -> None:
    """A stranger who makes up a thousand methods does not make the server grow."""
    server.add("a", card)
    with connected(server) as client:
        assert {client.request(f"MADE-UP-{number}", server.url("a"))[0] for number in range(50)} == {501}
        client.request("OPTIONS", server.url("a"))

    assert server.requests == {"OPTIONS": 1}
