import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.broker.contract import Position, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.metrics import WorkerMetrics
from pipeline.records.state import CameraState, CoolDown, encode_state
from pipeline.records.wire import Message, Partition
from pipeline.testing import ManualClock
from pipeline.worker.assignment import RESTORE_SECONDS, Retries, _place, _States, restore
from pipeline.worker.handover import WorkerContext
from pipeline.worker.positions import encode_position

SETTINGS = Settings(topics=TopicsSettings(namespace="test"))
P0, P1 = Partition("test.frames", 0), Partition("test.frames", 1)


@pytest.fixture
def broker() -> Iterator[InProcessBroker]:
    """Frames and state, two partitions each; ten records in frames partition 0."""
    made = InProcessBroker()
    made.ensure_topics([TopicSettings("test.frames", 2), TopicSettings("test.state", 2)], 1.0)
    producer = made.producer()
    for _ in range(10):
        producer.send("test.frames", Message(b"door", b"x", partition=0))
    yield made
    made.close()


def state(camera: str, tick: int) -> CameraState:
    """A camera with a label that is not at rest."""
    return CameraState(camera, 1, 4, tick, False, (CoolDown("run", tick + 4, tick),))


def commit(broker: InProcessBroker, position: Position, states: dict[str, CameraState | None]) -> int:
    """Commit a position of P0 with states, as a worker does; return the offset of the last state."""
    consumer = broker.group_consumer("test.frames", "group")
    token = consumer.poll(0.1, 1).token
    assert token is not None
    transactions = broker.transactions("someone", 1.0)
    transactions.begin()
    for camera, one in states.items():
        message = Message(camera.encode(), None) if one is None else encode_state(one)
        transactions.send("test.state", Message(message.key, message.value, message.headers, 0))
    offsets = transactions.offsets(1.0)
    transactions.commit_positions({P0: position}, "group", token)
    transactions.commit()
    transactions.close()
    consumer.close()
    return offsets[-1][1] if offsets else NO_STATE


def restored(
    broker: InProcessBroker, start: str = "live", clock: ManualClock | None = None, **options: Any
) -> dict[Partition, Restored]:
    """Go through the assignment step with both partitions. Every reading of the clock takes some time."""
    consumer = broker.group_consumer("test.frames", "group")
    passing = clock or ManualClock()

    def monotonic() -> float:
        passing.advance(0.3)
        return passing.seconds

    try:
        worker = SETTINGS.worker.model_copy(update={"start": start})
        settings = SETTINGS.model_copy(update={"worker": worker})
        context = WorkerContext(settings, broker, WorkerMetrics(CollectorRegistry()), "a", monotonic)
        return restore(context, consumer, [P0, P1], labels=7, **options)
    finally:
        consumer.close()


@pytest.mark.parametrize(("start", "position"), [("live", 10), ("begin", 0)])
def test_without_a_position_a_partition_starts_where_the_settings_say(
    broker: InProcessBroker, start: str, position: int
) -> None:
    """Live starts at the end, begin at the beginning; either way with the newest labels, and as a fresh start."""
    found = restored(broker, start)
    assert found[P0] == Restored(P0, Committed(position, position, NO_STATE, 7), {}, fresh=True)
    assert found[P1].committed.position == 0 and found[P1].fresh


def test_a_committed_position_brings_its_states(broker: InProcessBroker) -> None:
    """P, R, s and v come back, and the newest state of every camera that was not removed."""
    commit(broker, encode_position(Committed(3, 0, 1, 2)), {"door": state("door", 1), "yard": state("yard", 1)})
    last = commit(broker, encode_position(Committed(4, 0, 4, 2)), {"yard": None, "door": state("door", 9)})
    commit(broker, encode_position(Committed(5, 2, last, 3)), {})
    found = restored(broker)[P0]
    assert found == Restored(P0, Committed(5, 2, last, 3), {"door": state("door", 9)})


def test_states_beyond_the_position_do_not_count(broker: InProcessBroker) -> None:
    """What was written after s belongs to no committed position."""
    first = commit(broker, encode_position(Committed(3, 0, 0, 2)), {"door": state("door", 1)})
    commit(broker, encode_position(Committed(4, 0, first, 2)), {"door": state("door", 9)})
    assert restored(broker)[P0].cameras == {"door": state("door", 1)}


def test_a_state_that_does_not_come_leaves_the_partition_out(broker: InProcessBroker) -> None:
    """A partition never continues without all of its states. Others do, and soon: what exists was read to its end."""
    commit(broker, encode_position(Committed(3, 0, 99, 2)), {"door": state("door", 1)})
    clock = ManualClock()
    begun = clock.seconds
    with structlog.testing.capture_logs() as logs:
        assert set(restored(broker, clock=clock)) == {P1}
    assert clock.seconds - begun < RESTORE_SECONDS / 2
    assert [(one["topic"], one["sought"]) for one in logs if one["log_level"] == "warning"] == [("test.state", {0: 99})]


def test_a_position_that_a_tool_moved_is_a_fresh_start_there(broker: InProcessBroker) -> None:
    """At an offset without our metadata a worker starts without memory; it finds the open events, to end them."""
    commit(broker, Position(6, ""), {"door": state("door", 1)})
    found = restored(broker)[P0]
    assert found.committed == Committed(6, 6, NO_STATE, 7) and found.fresh
    assert found.cameras == {"door": state("door", 1)}


GOOD = json.loads(encode_state(CameraState("door", 1, 4, 9, False, (CoolDown("run", 4, 9),))).value or b"")
NO_STATES = [
    b"\xff\x00garbage",
    b"null",
    b"{}",
    b"[" * 100_000,
    *(
        json.dumps({**GOOD, **change}).encode()
        for change in (
            {"schema": 99},
            {"labels": 7},
            {"labels": ["ab"]},
            {"labels": [{"phase": "asleep"}]},
            {"rate": 0},
            {"rate": "4"},
            {"rate": 10**30},
            {"last_tick": "z"},
            {"session": None},
            {"ended": "yes"},
            {"camera": "yard"},
        )
    ),
]


@pytest.mark.parametrize("value", NO_STATES)
def test_a_record_that_is_no_state_costs_its_camera_alone(broker: InProcessBroker, value: bytes) -> None:
    """What was known of its camera is put aside, to end what is open there; another camera of the partition goes on.

    state   door   yard   door: no state        door
    now            yard   (door)                door, healed
    """
    producer = broker.producer()
    commit(broker, encode_position(Committed(3, 0, 1, 2)), {"door": state("door", 1), "yard": state("yard", 1)})
    producer.send("test.state", Message(b"door", value, partition=0))
    last = commit(broker, encode_position(Committed(4, 0, 1, 2)), {"yard": state("yard", 9)})
    commit(broker, encode_position(Committed(4, 0, last, 2)), {})
    with structlog.testing.capture_logs() as logs:
        found = restored(broker)[P0]
    assert found.cameras == {"yard": state("yard", 9)} and found.spoilt == {"door": state("door", 1)}
    said = [one for one in logs if one["log_level"] == "error"]
    assert [(one["topic"], one["partition"], one["offset"], one["key"]) for one in said] == [
        ("test.state", 0, last - 1, "b'door'")
    ], logs

    last = commit(broker, encode_position(Committed(5, 0, last, 2)), {"door": state("door", 12)})
    commit(broker, encode_position(Committed(5, 0, last, 2)), {})
    found = restored(broker)[P0]
    assert found.cameras == {"yard": state("yard", 9), "door": state("door", 12)} and not found.spoilt


@pytest.mark.parametrize("value", [None, encode_state(state("door", 1)).value])
def test_a_key_that_is_no_camera_costs_nobody(broker: InProcessBroker, value: bytes | None) -> None:
    """It is said, and all cameras of the partition go on."""
    producer = broker.producer()
    producer.send("test.state", Message(b"\xff", value, partition=0))
    producer.send("test.state", Message(None, value, partition=0))
    commit(broker, encode_position(Committed(3, 0, 2, 2)), {"yard": state("yard", 1)})
    with structlog.testing.capture_logs() as logs:
        found = restored(broker)[P0]
    assert found.cameras == {"yard": state("yard", 1)} and not found.spoilt
    assert [one["offset"] for one in logs if one["log_level"] == "error"] == [0, 1]


def test_a_camera_of_which_nothing_older_is_left_begins_anew(broker: InProcessBroker) -> None:
    """Compaction may have taken the last good record: then nothing is known to be open."""
    broker.producer().send("test.state", Message(b"door", b"garbage", partition=0))
    commit(broker, encode_position(Committed(3, 0, 1, 2)), {"yard": state("yard", 1)})
    assert restored(broker)[P0].spoilt == {"door": None}


def test_expired_records_are_a_hole() -> None:
    """R below the log's start becomes the log's start; P below it too, and the difference is reported."""
    kept = _place(P0, Committed(50, 20, 3, 2), _States(), (40, 90), 7, "live")
    assert kept.committed == Committed(50, 40, 3, 2) and kept.hole == 0
    lost = _place(P0, Committed(50, 20, 3, 2), _States(), (60, 90), 7, "live")
    assert lost.committed == Committed(60, 60, 3, 2) and lost.hole == 10


@pytest.mark.parametrize(
    ("end", "position", "rewind", "cut"), [(60, 50, 20, 0), (50, 50, 20, 0), (30, 30, 20, 20), (10, 10, 10, 40)]
)
def test_a_log_that_lost_its_end_goes_on_where_it_ends(end: int, position: int, rewind: int, cut: int) -> None:
    """Records that take the place of lost ones are new: none of them lies below P and passes for processed."""
    found = _place(P0, Committed(50, 20, 3, 2), _States(), (0, end), 7, "live")
    assert found == Restored(P0, Committed(position, rewind, 3, 2), {}, cut=cut)


@pytest.mark.parametrize(("at", "position"), [(4, 4), (6, 6), (8, 7)])
def test_a_log_that_grew_again_goes_on_where_it_was_cut(broker: InProcessBroker, at: int, position: int) -> None:
    """Once the log has grown past P again, its end no longer shows the loss; so the caller passes in the cut."""
    commit(broker, encode_position(Committed(7, 2, NO_STATE, 3)), {})
    found = restored(broker, cut={P0: at})[P0]
    assert found == Restored(P0, Committed(position, 2, NO_STATE, 3), {}, cut=7 - position)


def test_a_missing_state_is_tried_ever_more_seldom() -> None:
    """Each pause is twice as long as the one before, up to the longest. Every partition has pauses of its own.

    second   0    0.5   1.5       3.5     5.5
    P0       x    x     x         x       x
    P1            new
    """
    retries = Retries(0.5, 2.0)
    assert retries.due([P0], 0.0) == {P0} and retries.pause([P0]) == 0.0
    for at, again in [(0.0, 0.5), (0.5, 1.5), (1.5, 3.5), (3.5, 5.5)]:
        retries.missing([P0], at)
        assert retries.due([P0, P1], again - 0.1) == {P1} and retries.due([P0, P1], again) == {P0, P1}
    assert retries.pause([P0, P1]) == 2.0


@pytest.mark.parametrize(("pause", "waited"), [(0.0, 0.5), (1.5, 1.5), (9.0, 2.0)])
def test_a_broker_that_does_not_answer_is_tried_again_soon(pause: float, waited: float) -> None:
    """Pauses do not grow: when the broker is back, it answers for all partitions at once."""
    retries = Retries(0.5, 2.0)
    for now in (0.0, 10.0):
        retries.failed([P0], now, pause)
        assert retries.pause([P0]) == waited and retries.due([P0], now + waited) == {P0}


def test_what_failed_together_is_tried_in_halves() -> None:
    """No error names the partition that does not answer, so halves find it; after successes more are tried together.

    tried    0 1 2 3 | 0 1 | 0 | 1, 2 3, ...
             fails     fails works
    """
    retries, wanted = Retries(0.5, 2.0), {Partition("test.frames", number) for number in range(4)}
    now, sizes = 0.0, []
    for works in (False, False, True, True):
        tried = retries.next(wanted, now)
        sizes.append(len(tried))
        if works:
            for one in tried:
                retries.restored(one)
            wanted -= tried
        else:
            retries.failed(tried, now, 0.0)
            assert retries.next(wanted, now + 0.4) == set()
            now += 0.5
    assert sizes == [4, 2, 1, 2]


def test_what_was_never_tried_does_not_wait_for_what_failed() -> None:
    """A partition that was just gained is tried at once, alone."""
    retries = Retries(0.5, 2.0)
    retries.failed([P0], 0.0, 2.0)
    assert retries.next([P0, P1], 0.1) == {P1}


def test_what_was_restored_or_lost_begins_anew() -> None:
    """A partition that comes back is tried at once."""
    retries = Retries(0.5, 2.0)
    retries.missing([P0, P1], 0.0)
    retries.forget([P0])
    assert retries.due([P0, P1], 0.0) == {P0} and retries.pause([P0]) == 0.0
