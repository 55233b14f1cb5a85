import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from pipeline.analysis.ticks import tick_ns
from pipeline.broker import connect, control_topic
from pipeline.broker.contract import Broker, Delivered, Producer, Reader
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.errors import ActionwireError, BrokerTimeout, ConfigurationError, MessageTooLarge
from pipeline.ingest import Ingest, Shard, run_ingest
from pipeline.ingest.other_publishers import OtherPublishers
from pipeline.local.broker_node import BrokerNode
from pipeline.local.rtsp import Login, Media, RtspServer, load_media
from pipeline.local.test_card import number_of, write_test_card
from pipeline.metrics import IngestMetrics
from pipeline.records.cameras import CameraStatus, decode_status, encode_status
from pipeline.records.frames import EndMarker, FrameRecord, StreamRecord, decode_stream_record
from pipeline.records.jpeg import decode_jpeg
from pipeline.records.label_report import LabelReport, PictureForm, encode_report
from pipeline.records.wire import Message, Partition

SECONDS = 20.0


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Four seconds of numbered pictures."""
    return load_media(write_test_card(tmp_path_factory.mktemp("ingest") / "card.mp4", seconds=4, gop=12))


@pytest.fixture
def server() -> Iterator[RtspServer]:
    """An RTSP server on a free port."""
    with RtspServer() as server:
        yield server


def settings_for(cameras: dict[str, str], **ingest: Any) -> Settings:
    """Settings for these URLs, with short limits and eight ticks a second."""
    short = {
        "open_seconds": 2,
        "stall_seconds": 2,
        "backoff_seconds": 0.05,
        "backoff_max_seconds": 0.3,
        "status_seconds": 0.4,
        "short_side": 60,
    }
    return Settings(
        rate=8,
        kafka={"bootstrap": "in-process"},  # type: ignore[arg-type]
        topics={"partitions": 4, "namespace": "test"},  # type: ignore[arg-type]
        cameras={name: {"url": url} for name, url in cameras.items()},  # type: ignore[arg-type]
        ingest={**short, **ingest},  # type: ignore[arg-type]
    )


@dataclass
class Run:
    """A running ingest, and what it has published."""

    settings: Settings
    broker: Broker
    ingest: Ingest
    registry: CollectorRegistry
    frames: list[FrameRecord] = field(default_factory=list)
    records: list[StreamRecord] = field(default_factory=list)
    statuses: list[CameraStatus | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        topics = self.settings.topics
        self._frames = self._reader(topics.name("frames"))
        self._statuses = self._reader(topics.name("cameras"))

    def _reader(self, topic: str) -> Reader:
        count = self.broker.partition_counts([topic], 10.0)[topic]
        return self.broker.reader([Partition(topic, number) for number in range(count)])

    def read(self) -> None:
        """Take what was published."""
        for record in self._frames.read(0.02):
            found = decode_stream_record(record.key, record.value, record.headers)
            self.records.append(found)
            if isinstance(found, FrameRecord):
                self.frames.append(found)
        for record in self._statuses.read(0.0):
            self.statuses.append(None if record.value is None else decode_status(record.key, record.value))

    def until(self, condition: Callable[[], bool]) -> bool:
        """Let ingest run until a condition holds, up to a deadline."""
        deadline = time.monotonic() + SECONDS
        while not condition() and time.monotonic() < deadline:
            self.ingest.step(0.02)
            self.read()
        return condition()

    def of(self, camera: str) -> list[FrameRecord]:
        """Frames of one camera."""
        return [frame for frame in self.frames if frame.camera == camera]

    def status(self, camera: str) -> CameraStatus | None:
        """The newest status of a camera."""
        return next((one for one in reversed(self.statuses) if one and one.camera == camera), None)

    @property
    def ends(self) -> list[EndMarker]:
        """End markers."""
        return [record for record in self.records if isinstance(record, EndMarker)]

    def metric(self, name: str, **labels: str) -> float:
        """Value of a metric."""
        return self.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def running(settings: Settings, broker: Broker | None = None, **arguments: Any) -> Iterator[Run]:
    """Run ingest step by step."""
    broker = broker or InProcessBroker()
    apply_topics(broker, settings)
    registry = CollectorRegistry()
    ingest = Ingest(settings, broker, metrics=IngestMetrics(registry), check_seconds=0.1, **arguments)
    run = Run(settings, broker, ingest, registry)
    try:
        yield run
    finally:
        ingest.close()


def check_frames(run: Run, camera: str, zero: float) -> None:
    """Every frame is the picture that was captured at its time, at the first instant at or after its tick."""
    frames = run.of(camera)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    for frame in frames:
        image = decode_jpeg(frame.jpeg)
        assert image.shape == (frame.height, frame.width, 3) == (60, 80, 3)
        assert number_of(image) == round((frame.capture_ns / 1e9 - zero) * 25) % 100
        assert (frame.rate, frame.clock) == (8, "rtcp")
        if frame is not frames[0]:
            assert 0 <= frame.capture_ns - tick_ns(frame.tick, 8, camera) < 41_000_000


def test_two_cameras_reach_the_frames_topic(server: RtspServer, card: Media) -> None:
    """Each camera's ticks arrive in order, as JPEG of the wanted size, with exact capture times; statuses follow."""
    mounts = {name: server.add(name, card) for name in ("door", "yard")}
    with running(settings_for({name: server.url(name) for name in mounts})) as run:
        assert run.until(lambda: all(len(run.of(name)) >= 12 for name in mounts))
        assert run.until(lambda: (run.status("yard") or run.status("door")) is not None)
        assert run.until(lambda: (found := run.status("door")) is not None and found.fps is not None)
        status = run.status("door")

        for name, mount in mounts.items():
            check_frames(run, name, mount.zero or 0)
        assert run.metric("actionwire_published_frames_total") >= 24
        assert run.metric("actionwire_cameras", condition="online") == 2
        assert (run.ingest.live(), run.ingest.ready()) == (None, None)

    assert status is not None
    assert (status.condition, status.codec, status.clock, status.width, status.height) == (
        "online",
        "h264",
        "rtcp",
        320,
        240,
    )
    assert (status.dropped, status.conflict, status.last_error) == (0, None, None)
    run.read()
    last = run.status("door")
    session = run.of("door")[-1].session
    assert last and (last.condition, last.session, last.last_error) == ("offline", session, "ingest has stopped")


@pytest.mark.kafka
def test_frames_reach_a_real_broker(server: RtspServer, card: Media, broker_node: BrokerNode) -> None:
    """The same through Apache Kafka: every tick once, in order, in the partition of its camera."""
    mount = server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    settings = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap": broker_node.bootstrap}),
            "topics": settings.topics.model_copy(update={"namespace": f"ingest-{time.time_ns()}"}),
        }
    )
    broker = connect(settings.kafka)
    try:
        with running(settings, broker) as run:
            assert run.until(lambda: len(run.of("door")) >= 16)
            assert run.until(lambda: run.status("door") is not None)
            check_frames(run, "door", mount.zero or 0)
            ticks = [frame.tick for frame in run.of("door")]
            assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    finally:
        broker.close()


def test_cameras_are_added_changed_and_removed_while_running(server: RtspServer, card: Media, tmp_path: Path) -> None:
    """New settings start, replace and end cameras; a camera that leaves gets its end after its last frame.

    settings  {door}        {door', yard}        {yard}
    records   door ... end(replaced) door' ... end(removed), tombstone
    """
    other = load_media(write_test_card(tmp_path / "other.mp4", seconds=2, width=240, height=320))
    for name, media in (("door", card), ("door2", other), ("yard", card)):
        server.add(name, media)
    changes: list[Settings] = []
    settings = settings_for({"door": server.url("door")})
    with running(settings, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: len(run.of("door")) >= 3)
        changes.append(settings_for({"door": server.url("door2"), "yard": server.url("yard")}))
        assert run.until(lambda: run.of("door")[-1].height > run.of("door")[-1].width)
        assert run.until(lambda: len(run.of("yard")) >= 2)
        changes.append(settings_for({"yard": server.url("yard")}))
        assert run.until(lambda: None in run.statuses)

        assert run.ingest.cameras == ["yard"]
        assert run.metric("actionwire_cameras", condition="online") == 1
    door = [record for record in run.records if not hasattr(record, "version") and record.camera == "door"]  # type: ignore[union-attr]
    ends = [number for number, record in enumerate(door) if isinstance(record, EndMarker)]
    assert [end.reason for end in run.ends] == ["replaced", "removed"]
    assert ends[-1] == len(door) - 1
    for number in ends:
        marker, before = door[number], door[number - 1]
        assert isinstance(marker, EndMarker)
        assert isinstance(before, FrameRecord)
        assert (marker.session, marker.last_tick) == (before.session, before.tick)


def test_a_corrected_password_is_tried_at_once(server: RtspServer, card: Media) -> None:
    """A wrong one is tried rarely, and the status says how often and when next; an edit of the url waits for none of
    that, so the account is not locked meanwhile.

    refused  1 2 3 ........ next try in minutes
    edit            ^ frames
    """
    mount = server.add("door", card, login=Login("ann", "s3cret"))
    mount.faults.locked_after = 5
    url = server.url("door")
    settings = settings_for({"door": url.replace("s3cret", "wr0ng")}, backoff_max_seconds=3)
    changes: list[Settings] = []
    with running(settings, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(
            lambda: "refused 3 times in a row" in (((status := run.status("door")) and status.last_error) or "")
        )
        changes.append(settings_for({"door": url}, backoff_max_seconds=3))
        assert run.until(lambda: len(run.of("door")) > 3)

    assert mount.wrong_logins == 3


def test_changed_rate_restarts_every_camera(server: RtspServer, card: Media) -> None:
    """A new sampling rate begins a new session on the new grid."""
    server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    changes: list[Settings] = []
    with running(settings, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: len(run.of("door")) >= 2)
        changes.append(settings.model_copy(update={"rate": 2}))
        assert run.until(lambda: run.of("door")[-1].rate == 2)

    assert len({frame.session for frame in run.of("door")}) == 2


def test_settings_that_no_reader_uses_leave_cameras_and_events_alone(server: RtspServer, card: Media) -> None:
    """Priorities, periods and limits of the loop take effect while every session goes on."""
    server.add("door", card)
    before = settings_for({"door": server.url("door")})
    after = settings_for({"door": server.url("door")}, lost_seconds=30, status_seconds=0.2, in_flight_seconds=1)
    after.cameras["door"] = after.cameras["door"].model_copy(update={"priority": 5})
    changes: list[Settings] = []
    with running(before, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: len(run.of("door")) >= 3)
        changes.append(after)
        assert run.until(lambda: not changes)
        count = len(run.of("door"))
        assert run.until(lambda: len(run.of("door")) >= count + 8)

    assert run.ends == []
    assert len({frame.session for frame in run.of("door")}) == 1


def test_a_lost_camera_gets_its_end_and_comes_back(server: RtspServer, card: Media) -> None:
    """A camera that is away for longer than the limit is ended once; when it is back a newer session begins."""
    server.add("door", card)
    with running(settings_for({"door": server.url("door")}, stall_seconds=0.6, lost_seconds=0.6)) as run:
        assert run.until(lambda: len(run.of("door")) >= 3)
        server.refuse()
        server.drop()
        assert run.until(lambda: len(run.ends) == 1)
        offline = run.status("door")
        last = run.of("door")[-1]
        server.start()
        assert run.until(lambda: run.of("door")[-1].session > last.session)

        assert run.metric("actionwire_reconnects_total") >= 1
    assert run.ends == [EndMarker("door", last.session, last.tick, "lost")]
    assert offline
    assert offline.condition == "offline"
    assert "; " in (offline.last_error or "")


def test_a_file_that_has_ended_is_ended_at_once(tmp_path: Path) -> None:
    """The end of a file is known, so its end marker does not wait."""
    file = write_test_card(tmp_path / "short.mp4", seconds=0.6)
    with running(settings_for({"door": str(file)}, lost_seconds=60)) as run:
        assert run.until(lambda: bool(run.ends))

    assert run.ends[0].last_tick == run.of("door")[-1].tick


def test_a_camera_that_was_lost_can_be_removed(tmp_path: Path) -> None:
    """Its session has its end already; the removal says that it will not come back, so that nobody remembers it."""
    file = write_test_card(tmp_path / "short.mp4", seconds=0.6)
    changes: list[Settings] = []
    settings = settings_for({"door": str(file)}, lost_seconds=60)
    with running(settings, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: bool(run.ends))
        changes.append(settings_for({}, lost_seconds=60))
        assert run.until(lambda: None in run.statuses)

    assert [end.reason for end in run.ends] == ["lost", "removed"]
    assert run.ends[0].last_tick == run.ends[1].last_tick


def publish(broker: Broker, settings: Settings, camera: str, *, session: int, publisher: str = "before") -> None:
    """Write a status of another process."""
    status = CameraStatus(camera, "online", 0, session, None, None, None, None, None, None, 0, publisher, None, None)
    broker.producer().send(settings.topics.name("cameras"), encode_status(status))


def test_a_camera_that_is_away_and_was_published_earlier_can_be_removed() -> None:
    """This process has seen nothing of it, but workers keep what an earlier one published."""
    changes: list[Settings] = []
    settings, broker = settings_for({"door": "rtsp://127.0.0.1:1/door"}), InProcessBroker()
    apply_topics(broker, settings)
    publish(broker, settings, "door", session=500)
    with running(settings, broker, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: (found := run.status("door")) is not None and found.last_error is not None)
        changes.append(settings_for({}))
        assert run.until(lambda: run.statuses[-1] is None)

    assert run.ends == [EndMarker("door", 500, 0, "removed")]


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_camera_that_leaves_the_settings_while_no_ingest_runs_is_removed(
    server: RtspServer, card: Media, killed: bool
) -> None:
    """The cameras topic is compared with the settings at the start. What others publish or may publish stays.

    topic      door (an earlier life)   yard (another process, now)   gate (of another shard)
    settings   {}
    """
    shard = next(one for one in (Shard(0, 2), Shard(1, 2)) if one.owns("door"))
    gate = next(name for name in map(str, range(9)) if not shard.owns(name))
    yard = next(name for name in "abcdefgh" if shard.owns(name))
    server.add("door", card)
    before, broker = settings_for({"door": server.url("door")}), InProcessBroker()
    with running(before, broker) as earlier:
        assert earlier.until(lambda: len(earlier.of("door")) >= 2)
        if killed:
            earlier.ingest._bid_farewell = lambda _: None  # type: ignore[method-assign]
    newest = max(frame.session for frame in earlier.frames)
    publish(broker, before, gate, session=5, publisher="other")
    with running(settings_for({}), broker, shard=shard) as run:

        def removed() -> bool:
            publish(broker, before, yard, session=6, publisher="other")
            return bool(run.ends) and run.statuses.count(None) == 1

        assert run.until(removed)

    run.read()
    assert [(end.camera, end.session, end.reason) for end in run.ends] == [("door", newest, "removed")]
    assert run.statuses.count(None) == 1


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_ingests_with_settings_of_their_own_leave_each_others_cameras_alone(killed: bool) -> None:
    """Each by its name: what another one read stays while that one is away; what left its own settings goes.

    north   door, yard    ends            begins with {door}: yard is removed
    south                       gate      ends                  while both are away: gate stays
    """
    broker = InProcessBroker()

    def once(name: str, *cameras: str) -> Run:
        settings = settings_for(dict.fromkeys(cameras, "rtsp://127.0.0.1:1/x"), name=name, status_seconds=0.05)
        with running(settings, broker) as run:
            assert run.until(lambda: {one.camera for one in run.statuses if one and one.ingest == name} >= set(cameras))
            assert run.until(lambda: not run.ingest._removed)
            if killed:
                run.ingest._bid_farewell = lambda _: None  # type: ignore[method-assign]
        return run

    once("north", "door", "yard")
    once("south", "gate")
    third = once("north", "door")
    third.read()

    left = {one.camera for one in third.statuses if one}
    assert left == {"door", "yard", "gate"} and third.statuses.count(None) == 1
    others = OtherPublishers(broker, "test.cameras", "somebody", 5.0)
    assert others.cameras == ["door", "gate"]


def test_an_ingest_that_ends_finishes_its_removals(server: RtspServer, card: Media) -> None:
    """An edit of the settings just before the end is not forgotten."""
    server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    changes: list[Settings] = []
    with running(settings, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: len(run.of("door")) >= 2)
        changes.append(settings_for({}))
        assert run.until(lambda: not run.ingest.cameras)

    run.read()
    assert [end.reason for end in run.ends] == ["removed"]
    assert run.statuses[-1] is None


def test_cameras_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    """An ingest that runs for a year sees many names; what it knew of a removed one is gone."""
    file = write_test_card(tmp_path / "short.mp4", seconds=0.6)
    changes: list[Settings] = []
    with running(settings_for({}), reload=lambda: changes.pop() if changes else None) as run:
        for name in ("door", "yard"):
            changes.append(settings_for({name: str(file)}))
            assert run.until(lambda name=name: bool(run.of(name)))  # type: ignore[misc]
            changes.append(settings_for({}))
            assert run.until(lambda: run.statuses[-1] is None)
        run.until(lambda: not run.ingest._sessions)

        assert run.ingest._sessions == {}
        assert run.ingest._outbox._shares == {}


def test_a_camera_that_is_deleted_while_it_is_being_replaced_is_removed(server: RtspServer, card: Media) -> None:
    """Two edits within a second: the second one counts."""
    server.add("door", card)
    changes: list[Settings] = []
    settings = settings_for({"door": server.url("door")})
    broker = _HoldingBroker()
    with running(settings, broker, reload=lambda: changes.pop() if changes else None) as run:
        assert run.until(lambda: len(run.of("door")) >= 2)
        broker.last.holding = True
        changes.append(settings.model_copy(update={"rate": 2}))
        assert run.until(lambda: not run.ingest.cameras)
        changes.append(settings_for({}))
        assert run.until(lambda: not changes)
        broker.last.holding = False
        broker.last.let_go()
        assert run.until(lambda: None in run.statuses)

    assert run.ends[-1].reason == "removed"  # after `replaced`, where that was written before the second edit


class _PickyProducer:
    """Answers some messages with an error, as a broker may, and passes the others on."""

    def __init__(self, inner: Producer) -> None:
        self.inner = inner
        self.refuse: Callable[[Message], ActionwireError | None] = lambda _: None

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        error = self.refuse(message)
        if error is None:
            self.inner.send(topic, message, delivered)
        elif delivered:
            delivered(None, -1, error)

    def flush(self, seconds: float) -> None:
        self.inner.flush(seconds)

    def close(self, seconds: float = 2.0) -> None:
        self.inner.close(seconds)


class _PickyBroker(InProcessBroker):
    def producer(self) -> _PickyProducer:  # type: ignore[override]
        self.last = _PickyProducer(super().producer())
        return self.last


class _HoldingProducer(_PickyProducer):
    """Keeps every frame until it is let go or fails them, as a client does whose broker is away."""

    def __init__(self, inner: Producer) -> None:
        super().__init__(inner)
        self.holding = False
        self.held: list[tuple[str, Message, Delivered | None]] = []

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        if self.holding and message.value and message.headers:
            self.held.append((topic, message, delivered))
        else:
            super().send(topic, message, delivered)

    def let_go(self, *, failing: bool = False) -> None:
        """Deliver or fail what is held."""
        held, self.held = self.held, []
        for topic, message, delivered in held:
            if failing and delivered:
                delivered(None, -1, BrokerTimeout("the broker did not answer; is it up?"))
            else:
                self.inner.send(topic, message, delivered)


class _HoldingBroker(InProcessBroker):
    def producer(self) -> _HoldingProducer:  # type: ignore[override]
        self.last = _HoldingProducer(super().producer())
        return self.last


def test_a_slow_broker_costs_the_oldest_frames_and_they_are_counted(server: RtspServer, card: Media) -> None:
    """While the broker takes nothing, at most half a share is in flight and the newest frames wait; the rest is
    dropped and counted, and later frames arrive in order."""
    server.add("door", card)
    broker = _HoldingBroker()
    with running(settings_for({"door": server.url("door")}, in_flight_seconds=1), broker) as run:
        assert run.until(lambda: len(run.of("door")) >= 3)
        broker.last.holding = True
        assert run.until(lambda: run.metric("actionwire_dropped_total", reason="queue") >= 5)
        assert len(broker.last.held) == 4
        broker.last.holding = False
        broker.last.let_go()
        count = len(run.frames)
        assert run.until(lambda: len(run.frames) >= count + 8)
        assert run.until(lambda: (found := run.status("door")) is not None and found.dropped >= 5)

    sequence = [frame.sequence for frame in run.of("door")]
    missing = set(range(sequence[-1])) - set(sequence)
    assert sequence == sorted(set(sequence))
    assert len(missing) == run.metric("actionwire_dropped_total", reason="queue")


def test_frames_that_the_broker_gives_up_are_counted(server: RtspServer, card: Media) -> None:
    """A delivery that fails is counted, makes ingest not ready, and does not stop the camera."""
    server.add("door", card)
    broker = _HoldingBroker()
    with running(settings_for({"door": server.url("door")}), broker) as run:
        run.until(lambda: hasattr(broker, "last"))
        broker.last.holding = True
        assert run.until(lambda: len(broker.last.held) >= 2)
        broker.last.let_go(failing=True)
        assert "the broker did not answer" in (run.ingest.ready() or "")
        assert run.ingest.live() is None
        assert run.metric("actionwire_dropped_total", reason="queue") >= 2
        broker.last.holding = False
        assert run.until(lambda: len(run.frames) >= 2)
        assert run.ingest.ready() is None


def test_whatever_comes_of_telling_a_refusal_the_frame_is_settled(
    server: RtspServer, card: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client libraries swallow what a callback raises; a frame that was not settled would keep its place for ever."""

    def raising(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    server.add("door", card)
    broker = _HoldingBroker()
    with running(settings_for({"door": server.url("door")}, in_flight_seconds=1), broker) as run:
        broker.last.holding = True
        assert run.until(lambda: len(broker.last.held) == 4)
        [*_, delivered] = broker.last.held.pop()
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
            patch.setattr("pipeline.ingest.service.log", SimpleNamespace(warning=raising))
            delivered(None, -1, BrokerTimeout("the broker did not answer; is it up?"))  # type: ignore[misc]

        assert run.metric("actionwire_dropped_total", reason="queue") >= 1
        assert run.until(lambda: len(broker.last.held) == 4)


def test_a_link_that_was_away_for_long_begins_a_newer_session(server: RtspServer, card: Media) -> None:
    """Workers end a camera that is silent for `worker.lost_seconds`; what is published afterwards must count again.

    broker   takes   - - - - away - - - -   takes
    session  1 1 1   1 1 1 1|2 2 2 2 2 2 2  2 2 2      renewed after half of it, while nobody can have ended it yet
    """
    server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"lost_seconds": 0.4})})
    broker = _HoldingBroker()
    with running(settings, broker) as run:
        assert run.until(lambda: len(run.of("door")) >= 3)
        broker.last.holding = True
        before = run.of("door")[-1].session
        assert run.until(lambda: (found := run.status("door")) is not None and (found.session or 0) > before)
        broker.last.holding = False
        broker.last.let_go(failing=True)
        assert run.until(lambda: run.of("door")[-1].session > before)


def test_oversized_frames_are_refused_and_counted(server: RtspServer, card: Media) -> None:
    """A frame that exceeds the broker's limit is not sent; the camera goes on and markers and statuses still pass."""
    server.add("door", card)
    broker = InProcessBroker(max_message_bytes=1000)
    with running(settings_for({"door": server.url("door")}, short_side=240), broker) as run:
        assert run.until(lambda: run.metric("actionwire_dropped_total", reason="oversized") >= 3)
        assert run.until(lambda: (found := run.status("door")) is not None and found.dropped >= 3)

    assert run.frames == []


def test_frames_take_the_size_of_the_bundle_in_use(server: RtspServer, card: Media) -> None:
    """`fit: auto` follows what workers report, without a new session; another setting is followed at once.

    report     none     32x24   16x16
    setting    auto     auto    auto    40x30 covered   off
    """
    server.add("door", card)
    settings = settings_for({"door": server.url("door")}, fit="auto")
    edits: list[Settings] = []
    with running(settings, reload=lambda: edits.pop() if edits else None) as run:
        producer = run.broker.producer()

        def size(width: int, height: int) -> bool:
            return run.until(
                lambda: bool(run.frames) and (run.frames[-1].width, run.frames[-1].height) == (width, height)
            )

        def report(width: int, height: int) -> None:
            form = PictureForm(width, height, "area", "squash")
            said = LabelReport("workers", "b", "tiny", "1", 0, input=form)
            producer.send("test.control", encode_report(said))

        def edit(fit: str) -> None:
            edits.append(settings_for({"door": server.url("door")}, fit=fit))

        assert size(80, 60)
        report(32, 24)
        assert size(32, 24) and run.frames[-1].scene is None
        report(16, 16)
        assert size(16, 16) and run.frames[-1].scene == (80, 60)
        assert decode_jpeg(run.frames[-1].jpeg).shape == (16, 16, 3)
        edit("20x30")
        assert size(40, 30)
        edit("off")
        assert size(80, 60)

    assert len({frame.session for frame in run.frames}) == 1


def test_frames_that_only_the_broker_finds_too_large_are_no_reason_to_be_unready(
    server: RtspServer, card: Media
) -> None:
    """Where the topic's own limit is lower than ours: counted as too large, logged once, and the broker is there."""
    server.add("door", card)
    broker = _PickyBroker()
    with structlog.testing.capture_logs() as logs, running(settings_for({"door": server.url("door")}), broker) as run:
        too_large = MessageTooLarge("the broker takes no message of this size; send less")
        broker.last.refuse = lambda message: too_large if message.value and message.headers else None
        assert run.until(lambda: run.metric("actionwire_dropped_total", reason="oversized") >= 3)

        assert run.ingest.ready() is None
        assert run.metric("actionwire_dropped_total", reason="queue") == 0
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["frames refused"]


def test_an_end_is_logged_once_it_is_written(server: RtspServer, card: Media) -> None:
    """An end marker that the broker did not take is sent again; the log has it once it is there.

    sent     x  x  x
    written        x
    log            camera ended
    """
    server.add("door", card)
    changes: list[Settings] = []
    broker = _PickyBroker()
    refused: list[Message] = []

    def twice(message: Message) -> ActionwireError | None:
        if message.value or not message.headers or len(refused) == 2:
            return None
        refused.append(message)
        return BrokerTimeout("the broker did not answer; is it up?")

    settings = settings_for({"door": server.url("door")})
    with (
        structlog.testing.capture_logs() as logs,
        running(settings, broker, reload=lambda: changes.pop() if changes else None) as run,
    ):
        broker.last.refuse = twice
        assert run.until(lambda: len(run.of("door")) >= 2)
        changes.append(settings_for({}))
        assert run.until(lambda: len(refused) == 2)
        assert not [line for line in logs if line["event"] == "camera ended"]
        assert run.until(lambda: None in run.statuses)

    assert [line["reason"] for line in logs if line["event"] == "camera ended"] == ["removed"]
    assert [end.reason for end in run.ends] == ["removed"]


def test_pictures_of_no_use_are_counted(server: RtspServer, tmp_path: Path) -> None:
    """Damaged pictures reach no worker, so nothing else would show them; the first of a stream has no time stamp."""
    large = write_test_card(tmp_path / "large.mp4", seconds=1, width=1280, height=720, gop=5)
    mount = server.add("door", load_media(large), seed=2)
    mount.faults.reports = False
    with running(settings_for({"door": server.url("door")})) as run:
        assert run.until(lambda: run.metric("actionwire_unusable_pictures_total", kind="untimed") == 1)
        assert run.until(lambda: len(run.frames) >= 2)
        assert run.metric("actionwire_unusable_pictures_total", kind="damaged") == 0
        mount.faults.loss = 0.2
        assert run.until(lambda: run.metric("actionwire_unusable_pictures_total", kind="damaged") >= 3)


def test_a_camera_counts_again_when_a_second_publisher_has_left(server: RtspServer, card: Media) -> None:
    """Whoever is left of two begins a session newer than the other's, which workers would go on to prefer.

    one   100 100 100 100 100 100 201 201 201
    two           200 200 200 |
    count   x   x   x   x   x       x   x   x
    """
    server.add("door", card)
    settings, broker = settings_for({"door": server.url("door")}), InProcessBroker()
    with running(settings, broker, publisher="one") as one:
        assert one.until(lambda: len(one.of("door")) >= 3)
        before = one.of("door")[-1].session
        with running(settings, broker, publisher="two") as two:
            assert two.until(lambda: any(frame.session > before for frame in two.frames))
            assert one.until(lambda: (found := one.status("door")) is not None and found.conflict == "two")
            newest = max(frame.session for frame in two.frames)
        assert one.until(lambda: one.of("door")[-1].session > newest)
        assert one.until(lambda: (found := one.status("door")) is not None and found.conflict is None)

        assert one.metric("actionwire_reconnects_total") == 0


def test_a_camera_counts_again_when_a_second_publisher_fell_silent(server: RtspServer, card: Media) -> None:
    """The same where it ended without a word, on a machine whose clock was ahead: its sessions are in the future."""
    server.add("door", card)
    settings, broker = settings_for({"door": server.url("door")}), InProcessBroker()
    ahead = time.time_ns() // 1_000_000 + 3_600_000
    theirs = CameraStatus("door", "online", 0, ahead, None, None, None, None, None, None, 0, "two", None, None)
    with running(settings, broker) as run:
        assert run.until(lambda: len(run.of("door")) >= 3)
        broker.producer().send(settings.topics.name("cameras"), encode_status(theirs))
        assert run.until(lambda: run.of("door")[-1].session > ahead)

        sessions = list(dict.fromkeys(frame.session for frame in run.of("door")))
        assert len(sessions) == 2
        assert any(one and one.publisher != "two" and one.conflict == "two" for one in run.statuses)


def test_two_publishers_of_one_camera_are_noticed(server: RtspServer, card: Media) -> None:
    """Each of two processes hears the other's statuses and names it in its own; when one stops, the conflict ends."""
    server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    broker = InProcessBroker()
    with running(settings, broker, publisher="one") as run:
        with running(settings, broker, publisher="two") as other:
            both = [run, other]

            def conflicts() -> set[tuple[str, str | None]]:
                for each in both:
                    each.ingest.step(0.02)
                return {(one.publisher, one.conflict) for one in run.statuses if one}

            assert run.until(lambda: {("one", "two"), ("two", "one")} <= conflicts())
        run.statuses.clear()
        assert run.until(lambda: any(one and (one.publisher, one.conflict) == ("one", None) for one in run.statuses))


def test_shards_split_the_cameras(server: RtspServer, card: Media) -> None:
    """Two processes with one file read disjoint cameras, and together all of them."""
    names = [f"cam-{number}" for number in range(6)]
    for name in names:
        server.add(name, card)
    settings = settings_for({name: server.url(name) for name in names})
    with running(settings, shard=Shard(0, 2)) as one, running(settings, shard=Shard(1, 2)) as other:
        for run in (one, other):
            run.until(lambda run=run: bool(run.ingest.cameras))  # type: ignore[misc]

        assert sorted(one.ingest.cameras + other.ingest.cameras) == names


def test_a_new_process_continues_with_newer_sessions(server: RtspServer, card: Media) -> None:
    """Sessions of a restarted ingest are newer than those of the cameras topic, even if the clock was set back."""
    server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    broker = InProcessBroker()
    ahead = time.time_ns() // 1_000_000 + 5_000_000
    with running(settings, broker) as run:
        theirs = CameraStatus("door", "online", 0, ahead, None, None, None, None, None, None, 0, "before", None, None)
        broker.producer().send(settings.topics.name("cameras"), encode_status(theirs))
        assert run.until(lambda: len(run.frames) >= 1)
    with running(settings, broker) as run:
        run.frames.clear()
        assert run.until(lambda: any(frame.session > ahead for frame in run.frames))


def test_credentials_reach_no_status_metric_or_log(
    server: RtspServer, card: Media, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status names a refused login; user name and password are nowhere."""
    server.add("door", card, login=Login("annabel", "s3cret"))
    url = server.url("door").replace("s3cret", "wr0ng-w0rd")
    with running(settings_for({"door": url})) as run:
        assert run.until(lambda: (found := run.status("door")) is not None and found.last_error is not None)
        shown = repr(run.statuses) + repr(run.settings) + capsys.readouterr().out
        shown += repr(list(run.registry.collect()))

    assert "refused the login" in shown
    assert not any(secret in shown for secret in ("annabel", "wr0ng-w0rd", "s3cret"))


def test_missing_topics_are_named() -> None:
    """Without topics ingest does not start, and says which command creates them."""
    with pytest.raises(ConfigurationError, match=r"test\.frames.*actionwire topics"):
        Ingest(settings_for({}), InProcessBroker())


def test_ingest_runs_until_it_is_stopped(server: RtspServer, card: Media) -> None:
    """The command's function runs in any thread, ends soon after it is told to, and leaves no thread behind."""
    server.add("door", card)
    settings = settings_for({"door": server.url("door")})
    broker = InProcessBroker()
    apply_topics(broker, settings)
    stop = threading.Event()
    started: list[Ingest] = []
    thread = threading.Thread(
        target=run_ingest, args=(settings, broker), kwargs={"stop": stop, "started": started.append}
    )
    thread.start()
    reader = broker.reader([Partition("test.frames", number) for number in range(4)])
    deadline = time.monotonic() + SECONDS
    while not reader.read(0.1) and time.monotonic() < deadline:
        pass
    stop.set()
    thread.join(SECONDS)

    assert not thread.is_alive()
    assert started[0].cameras == ["door"]
    assert not [one for one in threading.enumerate() if one.name == "camera-door"]


def test_labels_of_the_settings_are_in_force_and_follow_edits(card: Media, tmp_path: Path) -> None:
    """Ingest applies them when it starts and when the file is edited; cameras go on meanwhile.

    file       falls           falls, runs    (no section)    []
    in force   falls           falls, runs    falls, runs     -
    """
    settings = settings_for({})
    broker, stop, edits = InProcessBroker(), threading.Event(), list[Settings]()
    apply_topics(broker, settings)

    def with_labels(**labels: Any) -> Settings:
        return Settings.model_validate({**settings.model_dump(exclude_unset=True), **labels})

    def until(texts: list[str]) -> None:
        deadline = time.monotonic() + SECONDS
        while [label.text for label in control_topic.read(broker, "test.control", 5).config] != texts:
            assert time.monotonic() < deadline, texts
            time.sleep(0.02)

    def body() -> None:
        first = with_labels(labels=["a person falls down"])
        run_ingest(first, broker, stop=stop, reload=lambda: edits.pop(0) if edits else None)

    thread = threading.Thread(target=body)
    thread.start()
    until(["a person falls down"])
    edits.append(with_labels(labels=["a person falls down", "a person runs"]))
    until(["a person falls down", "a person runs"])
    edits += [with_labels(), with_labels(labels=[])]
    until([])
    stop.set()
    thread.join()
    broker.close()


def test_an_edited_priority_reaches_the_status_and_starts_no_camera_anew(card: Media, server: RtspServer) -> None:
    """Workers read it there; the camera's session goes on."""
    server.add("door", card)
    settings = settings_for({"door": (url := server.url("door"))})
    edits: list[Settings] = []
    with running(settings, reload=lambda: edits.pop(0) if edits else None) as run:
        assert run.until(lambda: bool((found := run.status("door")) and found.session and found.priority == 0))
        session = run.status("door").session  # type: ignore[union-attr]
        cameras = {"door": {"url": url, "priority": 9}}
        edits.append(Settings.model_validate({**settings.model_dump(exclude_unset=True), "cameras": cameras}))

        assert run.until(lambda: bool((found := run.status("door")) and found.priority == 9))
        assert run.status("door").session == session  # type: ignore[union-attr]
