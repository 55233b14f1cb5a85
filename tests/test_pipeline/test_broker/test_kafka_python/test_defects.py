"""Every known defect of kafka-python 3.0.12, by its letter, on a real broker that hangs, dies and comes back.

The stalls are longer than the delivery limit, which is shortened here; nothing is asserted about speed.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from pipeline.broker import connect
from pipeline.broker.contract import Broker, GroupToken, Position, TopicSettings
from pipeline.broker.kafka_python import connection, consumer, producer, transactions
from pipeline.broker.partitioning import partition_of
from pipeline.broker.watchdog import Overdue, Watchdog, WatchdogThread
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import (
    ActionwireError,
    ConfigurationError,
    FencedError,
    MessageTooLarge,
    TransactionAborted,
    TransientError,
)
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.records.wire import Message, Partition, Record

pytestmark = pytest.mark.kafka

STALL = 2.5
"""Seconds that a broker hangs; the delivery limit of these tests is 1.5."""
DEADLINE = 30.0


@pytest.fixture(scope="module")
def node() -> Iterator[BrokerNode]:
    """A broker that may be stopped and killed."""
    with BrokerNode(overrides=TEST_OVERRIDES) as own:
        yield own


@pytest.fixture
def broker(node: BrokerNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A client with short delivery limits, on the fragile broker."""
    short = {"delivery_timeout_ms": 1500, "request_timeout_ms": 700}
    monkeypatch.setattr(producer, "OPTIONS", producer.OPTIONS | short)
    monkeypatch.setattr(transactions, "OPTIONS", transactions.OPTIONS | short)
    made = connect(KafkaSettings(bootstrap=node.bootstrap))
    yield made
    made.close()


@pytest.fixture
def topic(broker: Broker, name: str) -> str:
    """A fresh topic of four partitions."""
    broker.ensure_topics([TopicSettings(name, 4)], DEADLINE)
    return name


class Reports:
    """What became of each message."""

    def __init__(self) -> None:
        self.sent = 0
        self.failed: list[ActionwireError] = []
        self.offsets: list[tuple[Partition, int]] = []

    def __call__(self, partition: Partition | None, offset: int, error: ActionwireError | None) -> None:
        """Note one report."""
        if error is not None:
            self.failed.append(error)
        elif partition is not None:
            self.offsets.append((partition, offset))

    @property
    def done(self) -> int:
        """Messages that were reported."""
        return len(self.failed) + len(self.offsets)


def until(step: Callable[[], object], what: str) -> None:
    """Repeat a step until it returns something true."""
    deadline = time.monotonic() + DEADLINE
    while not step():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE} s"
        time.sleep(0.01)


def message(value: bytes = b"v", number: int = 0) -> Message:
    """A message for one partition."""
    return Message(b"camera", value, (), number)


def stalled(node: BrokerNode, action: Callable[[], None], seconds: float = STALL) -> None:
    """Do something while the broker hangs."""
    node.pause()
    try:
        began = time.monotonic()
        action()
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    finally:
        node.resume()


def committed_records(broker: Broker, topic: str, count: int) -> list[Record]:
    """The first committed records of a topic."""
    reader, found = broker.reader([Partition(topic, number) for number in range(4)]), []
    until(lambda: found.extend(reader.read(0.2)) or len(found) >= count, f"{count} records")
    reader.close()
    return found


def test_defects_a_and_b_producer_outlives_a_stall(broker: Broker, node: BrokerNode, topic: str) -> None:
    """After a stall longer than the delivery limit the producer delivers again, and every message was reported once.

    An idempotent producer would never send again (a); what waits is bounded by whoever counts reports (b).

    s  0        1.5            2.5
       hang .... limit passes .. resume -> delivers
    """
    client, before, during, after = broker.producer(), Reports(), Reports(), Reports()
    client.send(topic, message(), before)
    client.flush(DEADLINE)

    def send_some() -> None:
        for number in range(50):
            client.send(topic, message(b"x" * 15_000, number % 4), during)

    stalled(node, send_some)
    until(lambda: during.done == 50, "a report for each message")
    for number in range(20):
        client.send(topic, message(b"after", number % 4), after)
    until(lambda: after.done == 20, "reports after the stall")

    assert (before.done, len(after.offsets)) == (1, 20)
    assert during.failed
    assert all(isinstance(error, TransientError) for error in during.failed)
    client.close()


def test_defect_c_does_not_spin_while_it_cannot_send(
    broker: Broker, node: BrokerNode, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a request in flight and more to send, the sender looks a few times a second instead of without pause."""
    looks: list[float] = []
    original = connection.NetClient.connection_delay

    def counted(self: connection.NetClient, node_id: Any) -> float:
        looks.append(time.monotonic())
        return original(self, node_id)

    monkeypatch.setattr(connection.NetClient, "connection_delay", counted)
    client, reports = broker.producer(), Reports()
    client.send(topic, message(), reports)
    client.flush(DEADLINE)
    looks.clear()

    def send_two_batches() -> None:
        client.send(topic, message(), reports)
        time.sleep(0.2)
        client.send(topic, message(), reports)

    stalled(node, send_two_batches, 1.2)
    assert 0 < len(looks) < 500
    client.close()


def test_defect_d_positions_are_read_in_the_poll_loop(broker: Broker, topic: str, name: str) -> None:
    """Blocking calls work after every change of assignment, because the listener itself makes none."""
    group, read, owned = f"{name}-group", 0, set[Partition]()
    first = broker.group_consumer(topic, group)
    until(lambda: owned.update(first.poll(0.1, 10).assigned) or len(owned) == 4, "the first assignment")
    second = broker.group_consumer(topic, group)
    theirs: set[Partition] = set()
    deadline = time.monotonic() + DEADLINE
    while not (len(owned) == len(theirs) == 2):
        assert time.monotonic() < deadline
        for member, mine in ((first, owned), (second, theirs)):
            polled = member.poll(0.1, 10)
            mine -= polled.revoked
            mine |= polled.assigned
            for partition, (begin, _) in member.bounds(polled.assigned, 5).items():
                assert member.committed([partition], 5) == {partition: None}
                member.seek(partition, begin)
                read += 1

    assert read >= 2
    first.close()
    second.close()


def test_defect_e_transactions_go_on_after_an_outage(broker: Broker, node: BrokerNode, topic: str, name: str) -> None:
    """A transaction that a stall outlasts is aborted, if need be with a new producer; the next one commits.

    begin send | hang 2.5 s | offsets -> aborted | new producer | begin send commit
    """
    client = broker.transactions(name, 8)
    client.begin()
    client.send(topic, message(b"lost, too"))
    client.offsets(5)
    stalled(node, lambda: client.send(topic, message(b"lost")))
    with pytest.raises((TransactionAborted, FencedError)):
        client.commit()
    try:
        client.abort()
    except (TransactionAborted, FencedError):
        client.close()
        client = broker.transactions(name, 20)
    client.begin()
    client.send(topic, message(b"next"))
    client.commit()
    client.close()

    assert committed_records(broker, topic, 1)[-1].value == b"next"


def test_defect_f_frames_travel_in_batches(broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 15 KB for one partition share requests; with the library's default batch each would have its own."""
    requests: list[str] = []
    original = connection.NetClient.send

    def counted(self: connection.NetClient, node_id: Any, request: Any, **options: Any) -> Any:
        requests.append(type(request).__name__)
        return original(self, node_id, request, **options)

    monkeypatch.setattr(connection.NetClient, "send", counted)
    client, reports = broker.producer(), Reports()
    client.send(topic, message(), reports)
    client.flush(DEADLINE)
    requests.clear()
    for _ in range(60):
        client.send(topic, message(bytes(15_000)), reports)
    client.flush(DEADLINE)
    client.close()

    assert len(reports.offsets) == 61
    assert 1 <= sum("Produce" in name for name in requests) <= 20


def test_defect_g_large_messages(node: BrokerNode, name: str) -> None:
    """A message far over the fetch size of a partition is read; one over our limit is refused before it is sent."""
    with contextlib.closing(connect(KafkaSettings(bootstrap=node.bootstrap, max_message_bytes=6_000_000))) as large:
        large.ensure_topics([TopicSettings(name, 4, {"max.message.bytes": "7000000"})], DEADLINE)
        client, reports = large.producer(), Reports()
        client.send(name, message(bytes(5_900_000)), reports)
        with pytest.raises(MessageTooLarge):
            client.send(name, message(bytes(6_000_000)), reports)
        client.send(name, message(b"small"), reports)
        client.flush(DEADLINE)

        assert [len(record.value or b"") for record in committed_records(large, name, 2)] == [5_900_000, 5]


def test_defect_h_the_log_never_holds_frames(broker: Broker, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    """Even with everything set to DEBUG the client library logs no values."""
    caplog.set_level(logging.DEBUG)
    client = broker.producer()
    client.send(topic, message(b"secret-picture"))
    client.flush(DEADLINE)
    client.close()
    committed_records(broker, topic, 1)

    assert "secret-picture" not in caplog.text
    assert not [
        record for record in caplog.records if record.name.startswith("kafka") and record.levelno < logging.INFO
    ]


def test_defect_i_keys_land_where_murmur2_says(broker: Broker, topic: str) -> None:
    """The partition of a key is that of every Java client, so that other clients can share our topics."""
    client, keys = broker.producer(), [b"camera-%d" % number for number in range(30)]
    for key in keys:
        client.send(topic, Message(key, b""))
    client.flush(DEADLINE)
    client.close()
    found = {record.key: record.partition for record in committed_records(broker, topic, 30)}

    assert found == {key: partition_of(key, 4) for key in keys}


def test_defect_j_one_refused_record_harms_no_other(broker: Broker, name: str) -> None:
    """A record that the broker refuses is reported, and the producer goes on, on the same partition and on others."""
    broker.ensure_topics([TopicSettings(name, 4, {"max.message.bytes": "2000"})], DEADLINE)
    client, refused, accepted = broker.producer(), Reports(), Reports()
    client.send(name, message(bytes(5000)), refused)
    client.flush(DEADLINE)
    for number in range(4):
        client.send(name, message(b"fine", number), accepted)
    client.flush(DEADLINE)
    client.close()

    assert isinstance(refused.failed[0], MessageTooLarge)
    assert len(accepted.offsets) == 4


def test_defects_k_and_l_a_broker_that_dies_in_an_idle_moment(
    broker: Broker, node: BrokerNode, topic: str, name: str
) -> None:
    """A transaction begun while nothing listens ends, one way or the other, once the broker is back (k).

    Reconnecting is tried every second by then, not every thirty (l). What was acknowledged before is still there.

    commit | kill | begin send commit ............ | restart | committed, or aborted and done again
    """
    overdue: list[Overdue] = []
    watchdog = WatchdogThread([], watchdog=Watchdog(hard_limit=25), expire=overdue.append)
    broker._watchdog = watchdog  # type: ignore[attr-defined]
    client = broker.transactions(name, 8)
    client.begin()
    client.send(topic, message(b"before"))
    client.commit()
    node.kill()
    outcome: list[str] = []

    def transact() -> None:
        try:
            client.begin()
            client.send(topic, message(b"during"))
            client.commit()
            outcome.append("committed")
        except (TransactionAborted, FencedError) as error:
            outcome.append(f"aborted: {error}")

    thread = threading.Thread(target=transact, daemon=True)
    thread.start()
    time.sleep(3.0)
    manager = client._producer._sender._client._manager  # type: ignore[attr-defined]
    assert max(manager.connection_delay(number) for number in (0, 1, "coordinator-1", "bootstrap-0")) < 1.5
    node.start()
    thread.join(20)
    assert outcome, f"the transaction hangs; watchdog: {overdue}"
    client.close()
    successor = broker.transactions(name, 20)
    successor.begin()
    successor.send(topic, message(b"after"))
    successor.commit()
    values = [record.value for record in committed_records(broker, topic, 3 if outcome == ["committed"] else 2)]

    assert values == ([b"before", b"during", b"after"] if outcome == ["committed"] else [b"before", b"after"])
    assert not overdue


def test_defect_k_a_step_that_hangs_is_seen_by_the_watchdog(
    broker: Broker, node: BrokerNode, topic: str, name: str
) -> None:
    """A step that hangs while the broker accepts connections is reported by the watchdog, whatever made it hang."""
    expired = threading.Event()
    overdue: list[Overdue] = []

    def expire(found: Overdue) -> None:
        overdue.append(found)
        expired.set()

    address = ("127.0.0.1", int(node.bootstrap.rpartition(":")[2]))
    watchdog = WatchdogThread([address], watchdog=Watchdog(limit=0.2), expire=expire, interval=0.05)
    client = broker.transactions(name, 8)
    client._watchdog = watchdog  # type: ignore[attr-defined]
    client.begin()
    client.send(topic, message())

    def commit() -> None:
        with contextlib.suppress(ActionwireError):
            client.commit()

    thread = threading.Thread(target=commit, daemon=True)
    node.pause()
    try:
        thread.start()
        assert expired.wait(DEADLINE)
    finally:
        node.resume()
    thread.join(DEADLINE)
    client.close()

    assert overdue[0].step == "committing a transaction"


def test_defect_m_closing_never_raises(broker: Broker, node: BrokerNode, topic: str, name: str) -> None:
    """Closing with unsent messages and a broker that hangs returns, reports what is lost, and leaves no thread."""
    before = set(threading.enumerate())
    client, reports = broker.producer(), Reports()
    client.send(topic, message(), reports)
    client.flush(DEADLINE)
    transactional = broker.transactions(name, 8)
    transactional.begin()
    transactional.send(topic, message())
    transactional.commit()
    transactional.begin()

    def close_both() -> None:
        for _ in range(5):
            client.send(topic, message(), reports)
        transactional.send(topic, message())
        client.close(0.3)
        transactional.close()

    stalled(node, close_both, 0.5)

    def left() -> list[str]:
        return [one.name for one in threading.enumerate() if one not in before and one.name != "broker-watchdog"]

    until(lambda: not left(), "the end of the threads")

    assert reports.done == 6


def test_defect_n_a_replaced_static_member_is_told(broker: Broker, node: BrokerNode, topic: str, name: str) -> None:
    """Our members are dynamic; a membership that was taken over by another instance is refused as fenced."""
    assert "group_instance_id" not in consumer.group_options("g", 10)
    options = consumer.group_options(name, 10) | {
        "group_instance_id": "slot-1",
        "bootstrap_servers": node.bootstrap,
        "auto_offset_reset": "latest",
    }
    memberships = []
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            member = KafkaConsumer(topic, **options)
            stack.callback(member.close)
            until(lambda member=member: member.poll(100) or member.assignment(), "the assignment")  # type: ignore[misc]
            memberships.append(member.group_metadata())
        client = broker.transactions(f"{name}-id", 8)
        client.begin()
        with pytest.raises((FencedError, TransactionAborted)):
            client.commit_positions({Partition(topic, 0): Position(1)}, name, GroupToken(memberships[0]))
            client.commit()
        client.close()


def test_defect_o_positions_carry_no_leader_epoch(
    broker: Broker, topic: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed positions say -1 for the leader's epoch; None would make the call repeat for ever."""
    member = broker.group_consumer(topic, name)
    polled = member.poll(0.1, 1)
    while not polled.assigned:
        polled = member.poll(0.1, 1)
    client = broker.transactions(f"{name}-id", 8)
    epochs: list[int] = []
    original = client._producer.send_offsets_to_transaction  # type: ignore[attr-defined]

    def noted(offsets: dict[TopicPartition, Any], membership: Any) -> None:
        epochs.extend(position.leader_epoch for position in offsets.values())
        original(offsets, membership)

    monkeypatch.setattr(client._producer, "send_offsets_to_transaction", noted)  # type: ignore[attr-defined]
    client.begin()
    assert polled.token is not None
    client.commit_positions({Partition(topic, 1): Position(5, "m")}, name, polled.token)
    client.commit()

    assert epochs == [-1]
    assert member.committed([Partition(topic, 1)], 5) == {Partition(topic, 1): Position(5, "m")}
    member.close()
    client.close()


def test_a_broker_that_dies_while_a_member_joins_is_away_and_its_topic_is_not_missing(
    broker: Broker, node: BrokerNode, topic: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends with "create the topics" is not started again; one that finds no broker is.

    connected | kill | asks for its topic: nobody answers | restart | asks for one that is not there: a person must act
    """
    monkeypatch.setattr(consumer, "_LOOKUP_SECONDS", 1.5)
    connected = broker._open  # type: ignore[attr-defined]

    def cut_off(*args: Any, **options: Any) -> Any:
        made = connected(*args, **options)
        node.kill()
        return made

    with monkeypatch.context() as patch:
        patch.setattr(broker, "_open", cut_off)
        with pytest.raises(TransientError):
            broker.group_consumer(topic, name)
    node.start()
    broker.check(DEADLINE)
    with pytest.raises(ConfigurationError, match=f"{name}-absent; create the topics"):
        broker.group_consumer(f"{name}-absent", name)


def test_members_join_once_however_new_their_topic(broker: Broker, topic: str, name: str) -> None:
    """A member knows its topic before it joins; else it would be given nothing, and its first token would be stale."""
    member = broker.group_consumer(topic, name)
    polled = member.poll(0.1, 1)
    while not polled.assigned:
        polled = member.poll(0.1, 1)
    first = polled.token
    for _ in range(8):
        assert member.poll(0.1, 1).token == first
    member.close()


class Bytes(str):
    """A header name that is no text on the wire: other clients can send it."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Two bytes that are not UTF-8."""
        return b"\xff\xfe"


@pytest.mark.parametrize("paused", [False, True])
def test_a_record_that_the_library_cannot_decode_is_passed_over(
    broker: Broker, node: BrokerNode, topic: str, name: str, paused: bool
) -> None:
    """The library goes round in it for ever, also after a pause just before it. What lies behind it is read.

    offset   0      1 (no text)   2
    member   read   undecodable   read
    """
    with contextlib.closing(KafkaProducer(bootstrap_servers=node.bootstrap)) as foreign:
        for headers in ([], [(Bytes("odd"), b"")], []):
            foreign.send(topic, b"x", partition=0, headers=headers).get(DEADLINE)
    member, values, holes = broker.group_consumer(topic, f"{name}-group"), list[int](), dict[Partition, Any]()
    owned = set[Partition]()
    until(lambda: owned.update(member.poll(0.1, 10).assigned) or len(owned) == 4, "the assignment")
    for partition in owned:
        member.seek(partition, 0)

    def read() -> bool:
        polled = member.poll(0.1, 10)
        values.extend(record.offset for records in polled.records.values() for record in records)
        holes.update(polled.undecodable)
        if paused and values == [0]:
            member.pause(owned)
            holes.update(member.poll(0.1, 10).undecodable)
            member.resume(owned)
        return len(values) == 2

    until(read, "both records")
    member.close()

    assert values == [0, 2]
    assert holes == {Partition(topic, 0): (1, 2)}
    assert [record.offset for record in committed_records(broker, topic, 2)] == [0, 2]
