import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray

from pipeline.analysis.ticks import SECOND
from pipeline.camera.backoff import Backoff
from pipeline.camera.condition import Condition
from pipeline.camera.picture import Picture
from pipeline.camera.reader import Camera
from pipeline.camera.sampling import SampledFrame
from pipeline.camera.source import open_source
from pipeline.camera.source_settings import SourceSettings
from pipeline.local.rtsp import Login, Media, RtspServer, load_media
from pipeline.local.test_card import number_of, write_test_card

SECONDS = 15.0


@dataclass
class Reading:
    """A camera that is being read, and what it has given."""

    frames: list[SampledFrame] = field(default_factory=list)
    camera: Camera | None = None

    def until(self, condition: Callable[[], bool], *, watched: bool = True) -> bool:
        """Run the watchdog until a condition holds, up to a deadline."""
        deadline = time.monotonic() + SECONDS
        while not condition() and time.monotonic() < deadline:
            if self.camera and watched:
                self.camera.watch()
            time.sleep(0.02)
        return condition()

    def more(self, count: int) -> bool:
        """Wait for more frames."""
        wanted = len(self.frames) + count
        return self.until(lambda: len(self.frames) >= wanted)

    @property
    def condition(self) -> Condition:
        """The camera's condition."""
        assert self.camera
        return self.camera.condition()

    @property
    def sessions(self) -> list[int]:
        """Sessions in the order in which they came."""
        return list(dict.fromkeys(frame.session for frame in self.frames))


@contextmanager
def reading(url: str, **settings: object) -> Iterator[Reading]:
    """Read a source with short limits, eight ticks a second."""
    found = Reading()
    own = {"loop", "after_session", "deliver"}
    source = {name: value for name, value in settings.items() if name not in own}
    found.camera = Camera(
        "door",
        SourceSettings(url, **{"open_seconds": 2.0, "stall_seconds": 1.0, "short_side": 60, **source}),  # type: ignore[arg-type]
        rate=8,
        backoff=Backoff(0.05, 0.3, random.Random(1)),
        **{"deliver": found.frames.append, **{name: settings[name] for name in own & set(settings)}},  # type: ignore[arg-type]
    )
    found.camera.start()
    try:
        yield found
    finally:
        found.camera.stop(SECONDS)


def test_sampled_frames_arrive_with_exact_capture_times(server: RtspServer, card: Media) -> None:
    """Each sampled picture is the one that the camera captured at the instant that it carries."""
    mount = server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(6)
        condition = door.condition

    for frame in door.frames:
        captured = frame.capture_ns / 1e9 - (mount.zero or 0)
        assert number_of(frame.image) == round(captured * 25) % 100
        assert captured * 25 == pytest.approx(round(captured * 25), abs=0.1)
        assert frame.image.shape == (60, 80, 3)
    assert [frame.sequence for frame in door.frames] == list(range(len(door.frames)))
    assert (condition.state, condition.codec, condition.clock) == ("online", "h264", "rtcp")
    assert (condition.width, condition.height) == (320, 240)
    assert condition.fps == pytest.approx(25, abs=0.5)
    assert condition.last_error is None


@pytest.mark.parametrize("fault", ["drop", "refuse"])
def test_a_lost_camera_comes_back_as_a_new_session(server: RtspServer, card: Media, fault: str) -> None:
    """Dropped, or away for a while: the camera is tried again until it is back, and a newer session begins."""
    server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(2)
        if fault == "refuse":
            server.refuse()
        server.drop()
        assert door.until(lambda: door.condition.state == "offline")
        assert door.until(lambda: door.condition.reconnects >= (3 if fault == "refuse" else 1))
        reason = door.condition.last_error
        server.start()
        assert door.more(2)
        condition = door.condition

    assert len(door.sessions) == 2
    assert door.sessions == sorted(door.sessions)
    assert reason and "; " in reason
    assert (condition.state, condition.last_error) == ("online", None)


def test_a_stall_ends_after_its_limit(server: RtspServer, card: Media) -> None:
    """A camera that stops sending is stalled, then given up and tried again; the old connection gives nothing more."""
    mount = server.add("door", card)
    with reading(server.url("door"), stall_seconds=1.5) as door:
        assert door.more(2)
        mount.faults.stalled = True
        assert door.until(lambda: door.condition.state == "stalled")
        assert door.until(lambda: door.condition.stalls >= 1)
        assert "no picture for 1.5 s" in (door.condition.last_error or "")
        mount.faults.stalled = False
        assert door.until(lambda: len(door.sessions) >= 2)
        assert door.more(3)

    assert [frame.sequence for frame in door.frames if frame.session == door.sessions[-1]][:3] == [0, 1, 2]


def test_a_thread_that_hangs_is_replaced(server: RtspServer, card: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that never returns, as a name lookup may: the watchdog starts another thread, and what the old one does
    when it wakes up does not count."""
    server.add("door", card)
    woken, calls = threading.Event(), []

    def hanging(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            woken.wait(SECONDS)
        return open_source(*arguments)

    monkeypatch.setattr("pipeline.camera.reader.open_source", hanging)
    with reading(server.url("door"), open_seconds=0.2) as door:
        assert door.more(3)
        first = next(one for one in threading.enumerate() if one.name == "camera-door")
        woken.set()
        assert door.until(lambda: not first.is_alive())
        assert door.more(3)
        assert door.condition.stalls == 1

    assert len(calls) >= 2  # one more where the handshake took longer than the tenths of a second it has here
    assert len(door.sessions) == 1


def test_packets_without_pictures_are_a_stall_too(server: RtspServer, card: Media) -> None:
    """A camera that goes on sending what cannot be decoded is reconnected, although its connection is alive."""
    mount = server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(2)
        mount.faults.loss = 1.0
        assert door.until(lambda: door.condition.reconnects >= 1)
        mount.faults.loss = 0.0
        assert door.more(2)


class Useless:
    """A camera that opens at once and gives `what`, fifty times a second; None is a packet of another track."""

    codec = "h264"
    undecodable = packets = 0

    def __init__(self, what: Picture | None, *, video: bool = True) -> None:
        self.what = what
        self.video = video

    @contextmanager
    def open(self, _settings: SourceSettings, _now: Callable[[], int]) -> Iterator["Useless"]:
        """In the place of `open_source`."""
        yield self

    def pictures(self) -> Iterator[Picture | None]:
        """Without end."""
        while True:
            time.sleep(0.02)
            self.packets += self.video
            yield self.what


def test_pictures_of_no_use_are_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera all of whose pictures are damaged gives workers nothing: it is connected to again, which brings a key
    picture, and says why."""
    picture = Shown(0, None, 0, 320, 240, True, True, None)  # type: ignore[arg-type]
    monkeypatch.setattr("pipeline.camera.reader.open_source", Useless(picture).open)
    with reading("rtsp://camera/door", stall_seconds=0.3) as door:
        assert door.until(lambda: door.condition.stalls >= 2)
        condition = door.condition

    assert "all pictures of 0.3 s were damaged or had no time stamp; " in (condition.last_error or "")
    assert condition.corrupt > 0
    assert door.frames == []


def test_a_live_stream_without_time_stamps_is_timed_by_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no picture carries a time stamp, arrivals count, from the third on; those before are counted."""
    clock = Reordered(before=4.0, after=0.0, step=0.0, stamped=False)
    monkeypatch.setattr("pipeline.camera.reader.open_source", clock.open)
    monkeypatch.setattr("pipeline.camera.reader.time", clock)
    with reading("rtsp://camera/door") as door:
        assert door.until(lambda: door.condition.ended, watched=False)

    assert len(door.sessions) == 1
    assert len(door.frames) >= 4 * 8 - 3
    assert door.condition.untimed == 2


@pytest.mark.parametrize("damaged", [True, False])
def test_a_connection_without_a_key_picture_is_given_time(monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    """While video comes, a connection waits for its first key picture, says so, and is given up only after a while."""
    picture = Shown(0, None, 0, 320, 240, False, True, None) if damaged else None  # type: ignore[arg-type]
    monkeypatch.setattr("pipeline.camera.reader.open_source", Useless(picture).open)
    with reading("rtsp://camera/door", stall_seconds=0.2, key_picture_seconds=1.5) as door:
        assert door.until(lambda: "no key picture for" in (door.condition.last_error or ""))
        assert door.condition.reconnects == 0
        assert door.until(lambda: door.condition.stalls >= 1)
        assert "set one every 1 to 2 s on the camera" in (door.condition.last_error or "")


def test_connecting_again_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that opens and gives no picture is silent for longer and longer, however often it is reconnected.

    opened     |       |       |       |
    stalled         |       |       |
    silent     0 ..................... 1.5 s
    """
    monkeypatch.setattr("pipeline.camera.reader.open_source", Useless(None, video=False).open)
    with reading("rtsp://camera/door", stall_seconds=0.3) as door:
        assert door.until(lambda: door.condition.silent_seconds >= 1.5)
        assert door.condition.state != "online"
        assert door.condition.stalls >= 2
        assert "no picture for 0.3 s" in (door.condition.last_error or "")


@pytest.mark.parametrize(
    ("fault", "value", "clock"),
    [("rtp_jump", 20.0, "rtcp"), ("report_clock", -3.0, "rtcp"), ("report_clock", 3600.0, "arrival")],
)
def test_clock_faults_start_new_sessions(server: RtspServer, card: Media, fault: str, value: float, clock: str) -> None:
    """A jump of the RTP clock and a step of the camera's wall clock begin a newer session on the same connection."""
    mount = server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(3)
        setattr(mount.faults, fault, value)
        assert door.until(lambda: len(door.sessions) >= 2)
        assert door.until(lambda: door.condition.clock == clock and len(door.frames) > 8)
        condition = door.condition

    assert condition.reconnects == 0
    assert door.sessions == sorted(door.sessions)
    assert condition.clock_offset_seconds == pytest.approx(0 if fault == "rtp_jump" else value, abs=0.5)


class Shown(Picture):
    """A picture without content."""

    def rgb(self, short_side: int) -> NDArray[np.uint8]:
        """Black."""
        return np.zeros((1, 1, 3), np.uint8)


class Reordered:
    """Clock and camera in one: 25 pictures a second, without sender reports, that a decoder of two B-frames reorders.

    sent   2 0 1 5 3 4 8 6 7 ...    each packet 40 ms after the one before it
    shown      0 1 2 3 4 5 6 ...    with the stamp that its own packet was given

    After `before` seconds somebody sets the wall clock by `step` seconds.
    """

    codec = "h264"
    undecodable = 0

    def __init__(self, before: float, after: float, step: float, *, stamped: bool = True) -> None:
        self.stamped = stamped
        self.packets = round((before + after) * 25)
        self.before, self.step = before, round(step * SECOND)
        self.at = 0.0

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.at

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""
        return round(self.at * SECOND)

    def time_ns(self) -> int:
        """The wall clock, as it is set."""
        return 1_795_234_000 * SECOND + self.monotonic_ns() + (self.step if self.at >= self.before else 0)

    @contextmanager
    def open(self, _settings: SourceSettings, now: Callable[[], int]) -> Iterator["Reordered"]:
        """In the place of `open_source`."""
        self.now = now
        yield self

    def pictures(self) -> Iterator[Picture]:
        """In the order in which they are shown."""
        stamps: dict[int, int] = {}
        for packet in range(self.packets):
            self.at = packet / 25
            stamps[packet + (2 if packet % 3 == 0 else -1)] = self.now()
            if (shown := packet - 2) in stamps:
                yield Shown(
                    shown * SECOND // 25 if self.stamped else None,
                    None,
                    stamps.pop(shown),
                    320,
                    240,
                    False,
                    False,
                    None,
                )  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [-600.0, 600.0])
def test_setting_the_wall_clock_costs_no_tick_of_reordered_pictures(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Pictures that the decoder held back while ingest's clock was set are timed by the new clock, like later ones.

    packets   1 2 3 4 | 5 6 7 8
    clock      12:00  |  11:50
    pictures      1 2 | 3 4 5 6      3 and 4 are of packets that came before the step
    session   --- A --|-- B ---
    """
    clock = Reordered(before=4.0, after=8.0, step=step)
    monkeypatch.setattr("pipeline.camera.reader.open_source", clock.open)
    monkeypatch.setattr("pipeline.camera.reader.time", clock)
    with reading("rtsp://camera/door") as door:
        assert door.until(lambda: door.condition.ended, watched=False)

    old, new = ([frame for frame in door.frames if frame.session == session] for session in door.sessions)
    assert [len(old), len(new)] == [pytest.approx(4 * 8, abs=1), pytest.approx(8 * 8, abs=1)]
    assert [frame.tick - new[0].tick for frame in new] == list(range(len(new)))
    assert (new[0].capture_ns - old[-1].capture_ns) / SECOND == pytest.approx(step, abs=0.3)


def test_another_resolution_starts_a_new_session(server: RtspServer, card: Media, tmp_path: Path) -> None:
    """When the camera's size changes in the stream, a newer session begins and the condition has the new size."""
    tall = load_media(write_test_card(tmp_path / "tall.mp4", seconds=4, width=240, height=320))
    mount = server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(2)
        mount.switch(tall, time.time())
        assert door.until(lambda: len(door.sessions) == 2)
        assert (door.condition.width, door.condition.height) == (240, 320)

    assert (door.frames[0].image.shape, door.frames[-1].image.shape) == ((60, 80, 3), (80, 60, 3))


@pytest.mark.parametrize(("scheme", "status"), [("digest", None), ("basic", None), ("digest", 403)])
def test_a_wrong_password_is_tried_slowly_and_never_shown(
    server: RtspServer, card: Media, scheme: Literal["digest", "basic"], status: int | None
) -> None:
    """The condition says how often the login was refused and when it is tried next, the log says it once; user name and
    password are nowhere in them. Whatever the scheme, and where a camera says 403 to everybody by then."""
    mount = server.add("door", card, login=Login("annabel", "s3cret", scheme))
    mount.faults.status = status
    url = server.url("door").replace("s3cret", "wr0ng-w0rd")
    with structlog.testing.capture_logs() as logs, reading(url) as door:
        assert door.until(lambda: "refused 3 times in a row, next try at 2" in (door.condition.last_error or ""))
        shown = repr(door.condition) + repr(door.camera) + repr(logs)

    assert ("403 Forbidden" if status else "refused the login") in shown
    assert mount.wrong_logins == (0 if status else 3)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["camera lost"]
    assert not any(secret in shown for secret in ("annabel", "wr0ng-w0rd", "s3cret"))


def test_a_login_without_a_scheme_is_never_shown() -> None:
    """A URL without its rtsp:// looks like a path; messages leave out whatever precedes its @."""
    with structlog.testing.capture_logs() as logs, reading("annabel:s3cret@127.0.0.1/stream1") as door:
        assert door.until(lambda: door.condition.reconnects >= 1)
        shown = repr(door.condition) + repr(logs)

    assert "***@127.0.0.1: " in shown
    assert not any(secret in shown for secret in ("annabel", "s3cret", "stream1"))


def test_damaged_pictures_are_counted_and_not_delivered(server: RtspServer, tmp_path: Path) -> None:
    """With packets lost, damaged pictures are left out and counted, and the session goes on."""
    large = write_test_card(tmp_path / "large.mp4", seconds=1, width=1280, height=720, gop=5)
    mount = server.add("door", load_media(large), seed=2)
    with reading(server.url("door")) as door:
        assert door.more(2)
        mount.faults.loss = 0.2
        assert door.until(lambda: door.condition.corrupt >= 3)
        mount.faults.loss = 0.0
        assert door.more(3)
        assert door.condition.reconnects == 0

    assert len(door.sessions) == 1


def test_a_file_plays_in_real_time_and_ends(tmp_path: Path) -> None:
    """A file is paced by its time stamps; at its end the camera is offline for good, with the reason."""
    file = write_test_card(tmp_path / "short.mp4", seconds=1, width=160, height=120)
    start = time.monotonic()
    with reading(str(file)) as door:
        assert door.until(lambda: door.condition.ended)
        condition = door.condition

    assert time.monotonic() - start > 0.9
    assert [number_of(frame.image) for frame in door.frames] == sorted(number_of(frame.image) for frame in door.frames)
    assert len(door.frames) in (8, 9)
    assert (condition.state, condition.reconnects, condition.last_error) == ("offline", 0, "the file has ended")


@pytest.mark.parametrize("name", ["parts.ts", "raw.h264"])
def test_a_file_whose_stamps_begin_anew_or_lack_plays_in_real_time(tmp_path: Path, name: str) -> None:
    """Two recordings joined into one, and an elementary stream: no pause, no rush, one session."""
    file = write_test_card(tmp_path / name, seconds=1, width=160, height=120)
    if name == "parts.ts":
        file.write_bytes(file.read_bytes() * 2)
    seconds = 2 if name == "parts.ts" else 1
    start = time.monotonic()
    with reading(str(file)) as door:
        assert door.until(lambda: door.condition.ended)

    assert time.monotonic() - start > seconds - 0.1
    assert len(door.sessions) == 1
    assert len(door.frames) >= seconds * 8 - 1


@pytest.mark.parametrize("described", [True, False])
def test_a_camera_with_rare_key_pictures_is_waited_for(server: RtspServer, tmp_path: Path, described: bool) -> None:
    """Every connection begins a second after a key picture; the next one comes after six. The first connection is kept
    beyond the limit of a stall, says what it waits for, and then gives every tick; also where the parameter sets come
    with the key pictures only.

    key picture  *...........*...........*
    opened         |         first frame
    """
    file = write_test_card(tmp_path / "rare.mp4", seconds=6, fps=15, width=160, height=120, gop=90)
    mount = server.add("door", load_media(file, longest_gop=20))
    mount.faults.joined, mount.faults.described = 1.0, described
    with reading(server.url("door")) as door:
        assert door.until(lambda: "video comes, but no key picture" in (door.condition.last_error or ""))
        assert door.more(16)
        condition = door.condition

    assert (condition.reconnects, condition.last_error, condition.state) == (0, None, "online")
    ticks = [frame.tick for frame in door.frames]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


@pytest.mark.parametrize("reports", [True, False])
def test_stray_time_stamps_cost_their_own_pictures(server: RtspServer, card: Media, reports: bool) -> None:
    """One picture in ten is stamped ten hours ahead, over real RTP: one session, every tick, and they are counted."""
    mount = server.add("door", card)
    mount.faults.reports = reports
    mount.faults.restamp = lambda number, at: at + (37_600 if number % 10 == 9 else 0)
    with reading(server.url("door")) as door:
        assert door.more(30)
        condition = door.condition

    ticks = [frame.tick for frame in door.frames]
    assert len(door.sessions) == 1
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert condition.untimed >= 8


def test_a_looping_file_starts_a_session_for_each_pass(tmp_path: Path) -> None:
    """A file that loops begins again as a newer session."""
    file = write_test_card(tmp_path / "short.mp4", seconds=0.4, width=160, height=120)
    with reading(str(file), loop=True) as door:
        assert door.until(lambda: len(door.sessions) >= 3)

    assert door.sessions == sorted(door.sessions)


def test_a_looping_still_is_not_read_without_a_pause(tmp_path: Path) -> None:
    """A file that is over at once begins again after a second: each pass is a session, and workers see them all."""
    file = write_test_card(tmp_path / "still.mp4", seconds=0.04, width=160, height=120)
    start = time.monotonic()
    with reading(str(file), loop=True) as door:
        assert door.until(lambda: len(door.sessions) >= 3)

    assert time.monotonic() - start > 1.9
    assert len(door.frames) == len(door.sessions)


def test_sessions_begin_after_a_given_one(server: RtspServer, card: Media) -> None:
    """A session that was published before, by a clock that ran ahead, is older than every new one; until then it is
    the one in the condition, so that a process in which the camera never answered does not forget it."""
    mount = server.add("door", card)
    mount.faults.status = 404
    future = (time.time_ns() // 1_000_000) + 10_000_000
    with reading(server.url("door"), after_session=future) as door:
        assert door.until(lambda: door.condition.reconnects >= 1)
        assert door.condition.session == future
        mount.faults.status = None
        assert door.more(1)

    assert door.sessions == [future + 1]


def test_a_session_of_somebody_else_is_outranked_once(server: RtspServer, card: Media) -> None:
    """An older session than ours changes nothing; for a newer one a newer still is opened, on the same connection."""
    server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(2)
        assert door.camera
        [ours] = door.sessions
        theirs = ours + 3_600_000
        for session in (ours - 1, ours):
            door.camera.outrank(session)
        assert door.more(2)
        assert door.sessions == [ours]
        door.camera.outrank(theirs)
        assert door.until(lambda: door.condition.session == theirs + 1)
        door.camera.outrank(theirs)
        assert door.more(3)
        assert door.condition.reconnects == 0

    assert door.sessions == [ours, theirs + 1]


def test_whatever_a_receiver_raises_the_camera_comes_back(server: RtspServer, card: Media) -> None:
    """An error in what takes the frames is noted, and reading begins again."""
    server.add("door", card)
    taken: list[SampledFrame] = []

    def deliver(frame: SampledFrame) -> None:
        taken.append(frame)
        if len(taken) == 2:
            raise ValueError("no room")

    with reading(server.url("door"), deliver=deliver) as door:
        assert door.until(lambda: len(taken) >= 5)
        assert door.condition.reconnects == 1


def test_stopping_is_quick_while_the_camera_plays(server: RtspServer, card: Media) -> None:
    """A stop ends the thread with the next picture, and nothing is delivered after it."""
    mount = server.add("door", card)
    with reading(server.url("door")) as door:
        assert door.more(2)
        assert door.camera
        door.camera.stop(SECONDS)
        count = len(door.frames)
        assert door.until(lambda: server.viewers(mount) == 0, watched=False)

    assert len(door.frames) == count
