"""The poll thread by itself, turn by turn: what it restores, and what its gauges say about its partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry

from pipeline.analysis.camera_streams import Geometry
from pipeline.analysis.rewind import Committed
from pipeline.broker.contract import TopicSettings
from pipeline.broker.in_process import InProcessBroker, InProcessConsumer
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import BrokerTimeout, BrokerUnavailable
from pipeline.metrics import WorkerMetrics
from pipeline.records.frames import EndMarker, FrameRecord, encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.testing import ColourLabels, ManualClock
from pipeline.worker import assignment, fail_points, poll_thread
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, WorkerContext
from pipeline.worker.inference.kept_items import KeptItems
from pipeline.worker.label_views import EMPTY, LabelHistory, LabelViews
from pipeline.worker.lost_cameras import Suspicion
from pipeline.worker.poll_thread import PROBE_SECONDS, RETRY_SECONDS, PollThread
from pipeline.worker.positions import encode_position

SETTINGS = Settings(topics=TopicsSettings(namespace="test", partitions=4), worker=WorkerSettings(start="begin"))
FRAMES, GROUP = SETTINGS.topics.name("frames"), SETTINGS.worker.group


class Poller:
    """A poll thread that turns when it is told to, and its surroundings."""

    def __init__(self) -> None:
        self.broker = InProcessBroker()
        self.broker.ensure_topics([TopicSettings(f"test.{name}", 4) for name in ("frames", "state")], 1.0)
        self.clock, self.registry = ManualClock(), CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.handover = Handover(8, 0.0, 32, self.clock.monotonic)
        self.epochs = Epochs()
        self.consumer = self.join()
        self.bounds = self.consumer.bounds
        self.unreadable = False
        self._pool = ThreadPoolExecutor(1)
        label_views = LabelViews(lambda labels: ColourLabels.of(labels.version, []), LabelHistory(complete=True))
        label_views(EMPTY)
        black = np.zeros((2, 2, 3), np.uint8)
        equipment: Any = SimpleNamespace(geometry=Geometry(4, 4), prepare=lambda *_: black, label_views=label_views)
        self._thread = PollThread(
            WorkerContext(SETTINGS, self.broker, self.metrics, "a", self.clock.monotonic),
            self.consumer,
            self.broker.producer(),
            equipment=lambda: equipment,
            handover=self.handover,
            epochs=self.epochs,
            kept=KeptItems(),
        )

    def strike(self, step: str) -> None:
        """The hook of the fail points."""
        if self.unreadable:
            raise BrokerTimeout(f"{step} fails")

    def join(self) -> InProcessConsumer:
        """Another member of the group."""
        return self.broker.group_consumer(FRAMES, GROUP)

    def turn(self, after_seconds: float = 0.0) -> None:
        """One turn, some time after the one before."""
        self.clock.advance(after_seconds)
        self._thread.turn(self._pool)

    @property
    def connected(self) -> bool:
        """Whether the broker is said to be there."""
        return self._thread.connected

    def publish(self, partition: int = 0) -> None:
        """A frame arrives."""
        frame = encode_stream_record(FrameRecord("door", 1, 0, 0, 4, 0, "arrival", 2, 2, b"jpeg"))
        self.broker.producer().send(FRAMES, Message(frame.key, frame.value, frame.headers, partition))

    def without_leaders(self, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
        """The broker is there, but answers for these partitions no more, and for none that is asked with them."""
        every = self.bounds

        def some(partitions: Any, seconds: float) -> Any:
            if any(one.number in numbers for one in partitions):
                raise BrokerUnavailable("a partition has no leader at the moment")
            return every(partitions, seconds)

        monkeypatch.setattr(self.consumer, "bounds", some)

    def ends(self) -> list[tuple[int, str]]:
        """Partition and camera of every end marker that was written."""
        reader = self.broker.reader([Partition(FRAMES, number) for number in range(4)])
        found = [record for record in reader.read(0.1) if dict(record.headers)["kind"] == b"end"]
        reader.close()
        return [(record.partition, (record.key or b"").decode()) for record in found]

    def commit(self, partition: Partition, position: Committed) -> None:
        """Commit a position, whatever it says."""
        token = self.handover.membership(0.0)
        assert token is not None
        transactions = self.broker.transactions("a", 1.0)
        transactions.begin()
        transactions.commit_positions({partition: encode_position(position)}, GROUP, token)
        transactions.commit()

    def process(self) -> None:
        """What the inference thread does with a batch, as far as the gauge sees it: the newest frame is old."""
        while not self.handover.empty:
            self.handover.take_restored()
            self.handover.next(self.clock.seconds)
        self.metrics.lag(27.0)

    def gauge(self, name: str) -> float | None:
        """What a scrape would read."""
        return self.registry.get_sample_value(f"actionwire_{name}")

    def close(self) -> None:
        """Stop decoding."""
        self._pool.shutdown()
        self.broker.close()


@pytest.fixture
def poller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Poller]:
    """A worker that owns four empty partitions, and whose polls do not wait."""
    monkeypatch.setattr(poll_thread, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(poll_thread, "BUSY_POLL_SECONDS", 0.0)
    made = Poller()
    monkeypatch.setattr(fail_points, "hook", made.strike)
    made.turn()
    yield made
    made.close()


def test_partitions_that_are_lost_are_owned_no_more(poller: Poller) -> None:
    """The gauge falls when others take partitions, though nothing is gained: over all workers it adds up.

    worker a   4 owned | 2      |
    worker b           | joins, 2
    """
    assert poller.gauge("assigned_partitions") == 4
    poller.join().poll(0.0, 1)
    poller.turn()

    assert poller.gauge("assigned_partitions") == 2


def test_partitions_that_cannot_be_restored_are_not_owned(poller: Poller) -> None:
    """After an aborted transaction the gauge says 0 until the assignment step succeeds.

    transaction   aborted
    state                | unreadable | readable
    owned         4      | 0          | 2, 4
    waiting       0      | 4          | 2, 0
    """
    poller.handover.request_reassign()
    poller.unreadable = True
    poller.turn()
    assert (poller.gauge("assigned_partitions"), poller.gauge("waiting_partitions")) == (0, 4)

    poller.unreadable = False
    poller.turn(RETRY_SECONDS)
    assert (poller.gauge("assigned_partitions"), poller.gauge("waiting_partitions")) == (2, 2)
    poller.turn()
    assert (poller.gauge("assigned_partitions"), poller.gauge("waiting_partitions")) == (4, 0)


def test_partitions_that_a_worker_cannot_commit_for_are_not_worked_on(poller: Poller) -> None:
    """While the inference thread looks for a producer it has ended all epochs: no figure says that all is well."""
    poller.epochs.revoke([Partition(FRAMES, number) for number in range(4)])
    poller.turn()

    assert (poller.gauge("assigned_partitions"), poller.gauge("waiting_partitions")) == (0, 4)


def test_a_partition_without_a_leader_holds_nobody_up(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a swap all are to be restored; they are tried in halves, until the one that cannot be is alone.

    tried    0 1 2 3 | 0 1 | 2 3 | 2 | 3 ...    | 3
    leader   3 has none                         | it is back
    """
    poller.without_leaders(monkeypatch, 3)
    poller.handover.request_reassign()
    for _ in range(8):
        poller.turn(RETRY_SECONDS)
    assert (poller.gauge("assigned_partitions"), poller.gauge("waiting_partitions")) == (3, 1)

    monkeypatch.setattr(poller.consumer, "bounds", poller.bounds)
    poller.turn(10 * RETRY_SECONDS)
    assert (poller.gauge("assigned_partitions"), poller.gauge("waiting_partitions")) == (4, 0)


def test_a_state_without_a_leader_holds_nobody_up(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a partition of the state topic. A request takes no longer than the others may wait."""
    reader, asked = poller.broker.reader, list[float]()

    def some(partitions: Any, seconds: float = 8.0) -> Any:
        asked.append(seconds)
        if any(one.number == 3 for one in partitions):
            raise BrokerUnavailable("a partition has no leader at the moment")
        return reader(partitions, seconds)

    monkeypatch.setattr(poller.broker, "reader", some)
    for number in range(4):
        poller.commit(Partition(FRAMES, number), Committed(0, 0, 0, -1))
        poller.broker.producer().send("test.state", Message(b"door", None, partition=number))
    poller.handover.request_reassign()
    for _ in range(8):
        poller.turn(RETRY_SECONDS)

    assert poller.gauge("assigned_partitions") == 3
    assert asked[0] <= assignment.RESTORE_SECONDS and max(asked[1:]) <= poll_thread.REPEATED_SECONDS


def test_a_partition_without_a_leader_is_not_the_broker(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is away if no partition answers, not if one does not.

    without a leader   | 0     | 0 to 3
    connected     yes  | yes   | no
    """
    poller.turn(PROBE_SECONDS)
    poller.without_leaders(monkeypatch, 0)
    for _ in range(2):
        poller.turn(PROBE_SECONDS)
        assert poller.connected

    poller.without_leaders(monkeypatch, 0, 1, 2, 3)
    with pytest.raises(BrokerUnavailable):
        poller.turn(PROBE_SECONDS)


GONE = EndMarker("gone", 1, 7, "lost")


def test_a_suspected_camera_is_lost_though_others_go_on(poller: Poller) -> None:
    """A log that is written to is never read to its end; what it held at the first suspicion is enough.

    log          1 |   2   |   3   |  +end
    processed    0 |   1   |   2   |
    suspected      | first | again |
    """
    poller.publish()
    poller.handover.suspect({Partition(FRAMES, 0): Suspicion(0, (GONE,))})
    poller.turn()
    assert poller.ends() == []

    poller.publish()
    poller.handover.suspect({Partition(FRAMES, 0): Suspicion(1, (GONE,))})
    poller.turn()
    assert poller.ends() == [(0, "gone")]

    poller.handover.suspect({Partition(FRAMES, 0): Suspicion(2, (GONE,))})
    poller.turn()
    assert poller.ends() == [(0, "gone")]  # not again before it can have been read back


def test_a_camera_that_came_back_is_suspected_anew(poller: Poller) -> None:
    """An earlier suspicion says nothing about a later one: the tick of its marker differs."""
    poller.publish()
    poller.handover.suspect({Partition(FRAMES, 0): Suspicion(0, (GONE,))})
    poller.turn()
    poller.publish()
    poller.handover.suspect({Partition(FRAMES, 0): Suspicion(1, (replace(GONE, last_tick=9),))})
    poller.turn()

    assert poller.ends() == []


def test_lost_cameras_are_marked_beside_a_partition_without_a_leader(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be appended to that one; the others must not wait for it."""
    poller.without_leaders(monkeypatch, 0)
    poller.handover.suspect({Partition(FRAMES, number): Suspicion(0, (GONE,)) for number in (0, 1)})
    poller.turn()

    assert poller.ends() == [(1, "gone")]


def test_a_partition_whose_state_never_comes_holds_nobody_up(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pauses get longer, each attempt is logged, and the frames of the others are handed over meanwhile.

    partition 3   state is missing, ?    | ?   |     ?       | it came
    partition 0   owned             frame|frame|frame        |
    """
    monkeypatch.setattr(assignment, "SETTLE_SECONDS", 0.0)
    poller.commit(Partition(FRAMES, 3), Committed(0, 0, 4, -1))
    poller.handover.request_reassign()
    with structlog.testing.capture_logs() as logs:
        for after in (0.0, 0.1, RETRY_SECONDS, 0.1, RETRY_SECONDS, RETRY_SECONDS, 0.1):
            poller.publish()
            poller.turn(after)
            assert poller.gauge("assigned_partitions") == 3
    waited = [one["sought"] for one in logs if one["log_level"] == "warning"]
    assert waited == [{3: 4}] * 3 and not poller.handover.empty

    for _ in range(5):
        poller.broker.producer().send("test.state", Message(b"door", None, partition=3))
    poller.turn(4 * RETRY_SECONDS)
    assert poller.gauge("assigned_partitions") == 4


def test_what_cannot_be_decoded_is_no_hole(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing expired, so no longer retention would help: it is counted as what it is; the consumer has logged it."""
    strange, poll = Partition(FRAMES, 2), poller.consumer.poll
    monkeypatch.setattr(poller.consumer, "poll", lambda *wait: replace(poll(*wait), undecodable={strange: (2, 22)}))
    with structlog.testing.capture_logs() as logs:
        poller.turn()
    assert not [one for one in logs if one["log_level"] == "error"]
    counted = {reason: _dropped(poller, reason) for reason in ("hole", "undecodable")}
    assert counted == {"hole": 0, "undecodable": 2} and strange in poller.epochs.owned()


def _dropped(poller: Poller, reason: str) -> float | None:
    return poller.registry.get_sample_value("actionwire_dropped_total", {"reason": reason})


def test_a_log_that_lost_its_end_is_no_hole(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing expired unseen; the partition is restored once the inference thread has closed it.

    poll        | goes on from a smaller offset |             | restores
    inference   |                               | leaves, asks |
    """
    end, poll = Partition(FRAMES, 2), poller.consumer.poll
    monkeypatch.setattr(poller.consumer, "poll", lambda *wait: replace(poll(*wait), skipped={end: (20, 10)}))
    with structlog.testing.capture_logs() as logs:
        poller.turn()
    monkeypatch.setattr(poller.consumer, "poll", poll)
    assert [(one["partition"], one["end"]) for one in logs if one["log_level"] == "error"] == [(2, 10)]
    assert poller.registry.get_sample_value("actionwire_dropped_total", {"reason": "hole"}) == 0
    assert end not in poller.epochs.owned()

    assert poller.handover.take_leave()
    poller.handover.request_reassign()
    poller.turn()
    assert len(poller.epochs.owned()) == 4


def test_a_lag_is_taken_back_when_everything_was_read(poller: Poller) -> None:
    """Once no frame waits, the lag of the last frame no longer holds. While one waits, the gauge keeps it.

    frames      1 |    | 2 |      |
    waiting     - | -  | 2 | 2  2 | -
    gauge      27 | 27 |27 |27 27 | 0
    seconds     0 | 5  |10 |15 20 | 25
    """
    poller.publish()
    poller.turn()
    poller.process()
    poller.turn(PROBE_SECONDS)
    assert poller.gauge("lag_seconds") == 27.0

    poller.publish()
    for _ in range(3):
        poller.turn(PROBE_SECONDS)
    assert poller.gauge("lag_seconds") == 27.0

    poller.process()
    poller.turn(PROBE_SECONDS)
    assert poller.gauge("lag_seconds") == 0.0


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda poller: poller.handover.request_reassign(), id="to be restored"),
        pytest.param(lambda poller: poller.consumer.pause(poller.consumer.owned), id="not read to its end"),
    ],
)
def test_a_lag_stays_while_something_is_to_be_read(poller: Poller, leave: Callable[[Poller], None]) -> None:
    """A worker whose partitions wait for their state, or end later than they were read, is behind."""
    poller.unreadable = True
    poller.process()
    leave(poller)
    poller.publish()
    for _ in range(3):
        poller.turn(PROBE_SECONDS)

    assert poller.gauge("lag_seconds") == 27.0


def test_a_worker_without_partitions_lags_behind_nothing(poller: Poller) -> None:
    """A worker that lost all partitions to others has nothing to catch up with."""
    poller.process()
    others = [poller.join() for _ in range(4)]
    poller.consumer.expire()
    for _ in range(3):
        for other in others:
            other.poll(0.0, 1)
        poller.turn(PROBE_SECONDS)

    assert (poller.gauge("assigned_partitions"), poller.gauge("lag_seconds")) == (0, 0)


def test_decoding_is_measured(poller: Poller) -> None:
    """Each record that is decoded is one run of the stage."""
    poller.publish()
    poller.turn()
    poller.close()

    assert poller.registry.get_sample_value("actionwire_stage_duration_seconds_count", {"stage": "decode"}) == 1


def test_an_assignment_is_one_line(poller: Poller) -> None:
    """However many partitions come together: a person reads how many and which."""
    poller.handover.request_reassign()
    with structlog.testing.capture_logs() as logs:
        poller.turn()
    said = [one for one in logs if one["event"] == "partitions assigned"]
    assert [(one["count"], one["partitions"], one["owned"]) for one in said] == [(4, "0-3", 4)]
    assert [one["log_level"] for one in logs if one["event"] == "partition begun"] == ["debug"] * 4
