"""Our reader against RTSP servers that others have written. `bash tests/end_to_end/foreign.sh` installs them."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.camera.backoff import Backoff
from pipeline.camera.check import check
from pipeline.camera.picture import Picture
from pipeline.camera.reader import Camera
from pipeline.camera.sampling import SampledFrame
from pipeline.camera.source_settings import SourceSettings
from pipeline.errors import AuthenticationError, CameraRefused
from pipeline.health import accepts_connections
from pipeline.local.ports import free_port
from pipeline.local.test_card import number_of, write_test_card
from pipeline.testing import first_pictures

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = Path("/usr/bin/python3")
FOREIGN_SERVER = ROOT / ".venv-foreign/bin/rtsp-server"
SECONDS = 20.0
USER, PASSWORD = "an n", "p@ss:word"


def missing(what: str) -> None:
    """Skip loudly on a developer's machine; fail where the gate has installed everything."""
    message = f"{what} is not installed: run tests/end_to_end/foreign.sh"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fifteen seconds of numbered pictures, 25 a second, a key picture each second."""
    folder = tmp_path_factory.mktemp("film")
    write_test_card(folder / "card.mp4", seconds=15, width=320, height=240)
    return folder


@dataclass
class Server:
    """A foreign server in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    def url(self, path: str, login: str = "") -> str:
        """URL of a path; `login` ends with an @."""
        return f"rtsp://{login}127.0.0.1:{self.port}/{path}"

    def end(self) -> None:
        """Kill it."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def gst(film: Path, *login: str, port: int = 0) -> Server:
    """Start gst-rtsp-server."""
    command = [SYSTEM_PYTHON, ROOT / "tests/end_to_end/gst_camera.py", str(port), film / "card.mp4", *login]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    return Server(process, int(process.stdout.readline()))


@pytest.fixture(scope="module")
def gst_server(film: Path) -> Iterator[Server]:
    """gst-rtsp-server from Debian."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    found = SYSTEM_PYTHON.exists() and subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True).returncode == 0
    if not found:
        missing("gst-rtsp-server")
    server = gst(film)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def python_server(film: Path) -> Iterator[Server]:
    """aio-rtsp-toolkit from the Python registry."""
    if not FOREIGN_SERVER.exists():
        missing("aio-rtsp-toolkit")
    port, control = free_port(), free_port()
    command = [FOREIGN_SERVER, "-d", film, "-H", "127.0.0.1", "-p", str(port), "-cp", str(control)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    server = Server(process, port)
    try:
        assert eventually(lambda: accepts_connections(("127.0.0.1", port)))
        yield server
    finally:
        server.end()


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, up to a deadline."""
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@dataclass
class Reading:
    """A camera that is being read."""

    camera: Camera
    frames: list[SampledFrame] = field(default_factory=list)

    def until(self, condition: Callable[[], bool]) -> bool:
        """Run the watchdog until a condition holds."""

        def watched() -> bool:
            self.camera.watch()
            return condition()

        return eventually(watched)


@contextmanager
def reading(settings: SourceSettings) -> Iterator[Reading]:
    """Read a camera at eight ticks a second."""
    frames: list[SampledFrame] = []
    camera = Camera("door", settings, rate=8, deliver=frames.append, backoff=Backoff(0.1, 0.5, random.Random(1)))
    camera.start()
    try:
        yield Reading(camera, frames)
    finally:
        camera.stop(SECONDS)


def check_order(pictures: list[Picture]) -> None:
    """Numbers run on, and time stamps agree with them."""
    numbers = [number_of(picture.rgb(120)) for picture in pictures]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    stamps = [
        (picture.pts, number) for picture, number in zip(pictures, numbers, strict=True) if picture.pts is not None
    ]
    (zero, first), *rest = stamps
    for pts, number in rest:
        assert (pts - zero) / 1e9 == pytest.approx((number - first) / 25, abs=0.002)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_gst_plays_over_tcp_and_udp(gst_server: Server, transport: str) -> None:
    """Every picture in order, with time stamps that fit."""
    pictures = first_pictures(SourceSettings(gst_server.url("door"), transport), 50)  # type: ignore[arg-type]

    check_order(pictures)
    assert not any(picture.corrupt for picture in pictures)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_gst_asks_for_a_digest_login(gst_server: Server, film: Path, transport: str) -> None:
    """Odd characters in user name and password pass; a wrong password and none are refused and never shown."""
    closed = gst(film, USER, PASSWORD)
    try:
        right, wrong = "an%20n:p%40ss%3Aword@", "an%20n:wr0ng@"
        assert len(first_pictures(SourceSettings(closed.url("door", right), transport), 3)) == 3  # type: ignore[arg-type]
        for login in (wrong, ""):
            with pytest.raises(AuthenticationError, match="refused the login") as caught:
                first_pictures(SourceSettings(closed.url("door", login), transport), 1)  # type: ignore[arg-type]
            assert "wr0ng" not in str(caught.value)
    finally:
        closed.end()


def test_gst_names_no_such_path(gst_server: Server) -> None:
    """An unknown path is refused as one."""
    with pytest.raises(CameraRefused, match="no stream of this path"):
        first_pictures(SourceSettings(gst_server.url("nothing")), 1)


def test_the_cameras_clock_is_taken_up_with_the_first_report(gst_server: Server) -> None:
    """Its first report comes late: one session by arrival, then one by its clock, a fraction of a second apart."""
    with reading(SourceSettings(gst_server.url("door"))) as door:
        assert door.until(lambda: door.camera.condition().clock == "rtcp" and len(door.frames) > 16)
        condition = door.camera.condition()

    assert condition.clock_offset_seconds is not None
    assert abs(condition.clock_offset_seconds) < 2
    sessions = {frame.session: frame.clock for frame in door.frames}
    assert list(sessions.values()) in (["arrival", "rtcp"], ["rtcp"])


def test_a_frozen_server_is_a_stall_and_a_killed_one_comes_back(gst_server: Server, film: Path) -> None:
    """Stopped by SIGSTOP the camera is stalled and tried again; killed and started anew it is read again."""
    server = gst(film)
    settings = SourceSettings(server.url("door"), open_seconds=1.0, stall_seconds=1.0)
    try:
        with reading(settings) as door:
            assert door.until(lambda: len(door.frames) >= 4)
            server.process.send_signal(signal.SIGSTOP)
            assert door.until(lambda: door.camera.condition().stalls >= 1)
            server.process.send_signal(signal.SIGCONT)
            frozen = door.frames[-1].session
            assert door.until(lambda: door.frames[-1].session > frozen)
            server.end()
            assert door.until(lambda: door.camera.condition().state == "offline")
            server = gst(film, port=server.port)
            killed = door.frames[-1].session
            assert door.until(lambda: door.frames[-1].session > killed)
    finally:
        server.end()


def test_check_describes_a_foreign_camera(gst_server: Server) -> None:
    """What a user is told of it: codec, size, rate, key pictures."""
    report = check(SourceSettings(gst_server.url("door")), 3.5)

    assert (report.codec, report.width, report.height, report.corrupt, report.fault) == ("h264", 320, 240, 0, None)
    assert report.fps == pytest.approx(25, abs=0.5)
    assert report.key_interval == pytest.approx(1.0, abs=0.05)


def test_a_python_server_plays(python_server: Server) -> None:
    """A server in pure Python, by others: every picture in order, with the capture time of its first report."""
    pictures = first_pictures(SourceSettings(python_server.url("card.mp4")), 50)

    check_order(pictures)
    assert not any(picture.corrupt for picture in pictures)


def test_a_python_server_is_sampled(python_server: Server) -> None:
    """Its pictures answer the ticks of the grid, without a gap."""
    with reading(SourceSettings(python_server.url("card.mp4"))) as door:
        assert door.until(lambda: len(door.frames) >= 20)

    last = door.frames[-1].session
    ticks = [frame.tick for frame in door.frames if frame.session == last]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
