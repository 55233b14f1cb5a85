"""What the topics say of cameras that left the settings, whichever way and moment they left."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from pipeline.broker.contract import Delivered, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.errors import BrokerTimeout
from pipeline.ingest.other_publishers import OtherPublishers
from pipeline.ingest.removed import RemovedCameras
from pipeline.records.cameras import STOPPED, CameraStatus, encode_status
from pipeline.records.frames import EndMarker, decode_stream_record
from pipeline.records.wire import Message, Partition

FRAMES, CAMERAS = "test.frames", "test.cameras"
STATUS = CameraStatus("door", "online", 0, 500, 25.0, 1, 1, "h264", "rtcp", 0.0, 0, "other", None, None)


@dataclass
class Topics:
    """Both topics, and a process that removes cameras. `refuse` is asked which messages the broker does not take."""

    fresh_seconds: float = 60.0
    refuse: Callable[[Message], bool] = lambda _: False
    broker: InProcessBroker = field(default_factory=InProcessBroker)

    def __post_init__(self) -> None:
        self.broker.ensure_topics([TopicSettings(FRAMES, 1), TopicSettings(CAMERAS, 1)], 5.0)
        self.inner = self.broker.producer()
        self.others = OtherPublishers(self.broker, CAMERAS, "me", self.fresh_seconds)
        self.removed = RemovedCameras(self, FRAMES, CAMERAS, self.others)  # type: ignore[arg-type]

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        """Send, or answer with an error."""
        if self.refuse(message):
            assert delivered is not None
            delivered(None, -1, BrokerTimeout("the broker did not answer; is it up?"))
        else:
            self.inner.send(topic, message, delivered)

    def status(self, **changes: object) -> None:
        """Publish a status of the camera, by somebody else."""
        self.inner.send(CAMERAS, encode_status(replace(STATUS, **changes)))  # type: ignore[arg-type]

    def check(self, rounds: int = 4) -> None:
        """Let the process check a few times, as it does once a second."""
        for _ in range(rounds):
            self.others.poll()
            self.removed.check()

    @property
    def markers(self) -> list[EndMarker]:
        """Everything in the frames topic."""
        records = self.broker.reader([Partition(FRAMES, 0)]).read(0.0)
        found = [decode_stream_record(record.key, record.value, record.headers) for record in records]
        assert all(isinstance(one, EndMarker) for one in found)
        return found  # type: ignore[return-value]

    @property
    def tombstones(self) -> int:
        """Tombstones of the cameras topic."""
        return sum(record.value is None for record in self.broker.reader([Partition(CAMERAS, 0)]).read(0.0))


def removal(session: int, tick: int = 0) -> EndMarker:
    """The marker of a removed camera."""
    return EndMarker("door", session, tick, "removed")


def test_what_we_published_ends_after_its_last_frame() -> None:
    """Once the marker is there the tombstone follows, and both stand once."""
    topics = Topics()
    topics.removed.add("door", (700, 9))
    topics.check()

    assert topics.markers == [removal(700, 9)]
    assert topics.tombstones == 1


def test_a_camera_that_nobody_published_leaves_no_marker() -> None:
    """Its status goes; workers have never heard of it."""
    topics = Topics()
    topics.status(session=None, last_error=STOPPED)
    topics.removed.add("door")
    topics.check()

    assert (topics.markers, topics.tombstones) == ([], 1)


@pytest.mark.parametrize("last_error", [STOPPED, None], ids=["ended in order", "killed"])
@pytest.mark.parametrize("ours", [None, (400, 9)], ids=["nothing of ours", "something older of ours"])
def test_what_an_earlier_process_published_ends_too(last_error: str | None, ours: tuple[int, int] | None) -> None:
    """The newest session of all is marked too; its last tick is not known, and does not matter."""
    topics = Topics(fresh_seconds=60.0 if last_error else 0.05)
    topics.status(last_error=last_error)
    topics.others.poll()
    topics.removed.add("door", ours)
    deadline = time.monotonic() + 20.0
    while not topics.tombstones and time.monotonic() < deadline:
        topics.check()

    assert topics.markers[-1:] == [removal(500)]
    assert topics.tombstones == 1


def test_another_process_keeps_its_camera() -> None:
    """Settings of two processes may differ. Our own session ends at once; theirs, and their status, stay.

    other   x x x x x x x x x
    ours    removed        | the time after which a silent process counts as gone
    """
    topics = Topics(fresh_seconds=0.2)
    topics.status(session=900)
    topics.others.poll()
    topics.removed.add("door", (700, 9))
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        topics.status(session=900)
        topics.check(1)
        time.sleep(0.01)
    topics.others.fresh_seconds = -1.0
    topics.check()

    assert topics.markers == [removal(700, 9)]
    assert topics.tombstones == 0


def test_an_earlier_life_that_is_about_to_end_is_waited_for() -> None:
    """Whoever starts again at once finds a status that is fresh; the camera is removed when nobody publishes it."""
    topics = Topics()
    topics.status()
    topics.check()
    topics.removed.add("door")
    topics.status(session=501)
    topics.check()
    assert (topics.markers, topics.tombstones) == ([], 0)
    topics.status(session=502, last_error=STOPPED)
    topics.check(6)

    assert topics.markers == [removal(500), removal(501), removal(502)]
    assert topics.tombstones == 1


@pytest.mark.parametrize("kind", ["marker", "tombstone"])
def test_what_the_broker_does_not_take_is_sent_again(kind: str) -> None:
    """Neither the marker nor the tombstone gets lost, and the tombstone waits for the marker."""
    refused: list[Message] = []

    def twice(message: Message) -> bool:
        if len(refused) < 2 and bool(message.headers) is (kind == "marker"):
            refused.append(message)
            return True
        return False

    topics = Topics(refuse=twice)
    topics.removed.add("door", (700, 9))
    topics.check(2)
    assert topics.tombstones == 0
    topics.check()

    assert topics.markers == [removal(700, 9)]
    assert topics.tombstones == 1
    assert len(refused) == 2


def test_a_camera_that_comes_back_waits_for_what_is_on_its_way() -> None:
    """Its frames would stand before the marker otherwise, and would be forgotten with what was there before.

    marker      sent ........ acknowledged
    come back   not yet       now, and nothing more is written
    """
    held: list[Delivered] = []
    topics = Topics()
    send = topics.send

    def hold(topic: str, message: Message, delivered: Delivered | None = None) -> None:
        assert delivered is not None
        held.append(delivered)

    topics.send = hold  # type: ignore[method-assign]
    topics.removed.add("door", (700, 9))
    topics.check()
    assert len(held) == 1
    assert not topics.removed.begin("door")
    held[0](Partition(FRAMES, 0), 0, None)
    topics.send = send  # type: ignore[method-assign]
    assert topics.removed.begin("door")
    topics.check()

    assert topics.tombstones == 0
    assert topics.removed.begin("yard")
