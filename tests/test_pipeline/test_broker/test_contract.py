"""The broker contract, on Apache Kafka and in process alike."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from pipeline.broker.contract import Broker, Capability, GroupConsumer, Polled, Position, TopicSettings
from pipeline.errors import (
    ActionwireError,
    BrokerTimeout,
    ConfigurationError,
    ContractError,
    FencedError,
    MessageTooLarge,
    TransactionAborted,
)
from pipeline.records.wire import Message, Partition, Record

DEADLINE = 20.0


def until(step: Callable[[], object], what: str, seconds: float = DEADLINE) -> None:
    """Repeat a step until it returns something true."""
    deadline = time.monotonic() + seconds
    while not step():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"


def publish(broker: Broker, topic: str, *messages: Message) -> list[tuple[Partition, int]]:
    """Send messages one after another and return where they went."""
    producer = broker.producer()
    delivered: dict[int, tuple[Partition | None, int, ActionwireError | None]] = {}

    def note(number: int, *report: Any) -> None:
        assert number not in delivered, "a message was reported twice"
        delivered[number] = report  # type: ignore[assignment]

    for number, message in enumerate(messages):
        producer.send(topic, message, partial(note, number))
    producer.flush(DEADLINE)
    producer.close()
    reports = [delivered[number] for number in range(len(messages))]
    assert [error for _, _, error in reports] == [None] * len(messages)
    return [(partition, offset) for partition, offset, _ in reports if partition]


def at(number: int, value: bytes = b"v", key: bytes = b"k") -> Message:
    """A message for one partition."""
    return Message(key, value, (), number)


def joined(broker: Broker, topic: str, group: str, partitions: int = 4) -> tuple[GroupConsumer, Polled]:
    """A consumer that owns all partitions, and the poll that assigned them."""
    consumer = broker.group_consumer(topic, group)
    polled: list[Polled] = []

    def assigned() -> bool:
        polled.append(consumer.poll(0.2, 10))
        return len(polled[-1].assigned) == partitions

    until(assigned, "the assignment")
    return consumer, polled[-1]


def shares(members: Sequence[GroupConsumer], owned: Sequence[set[Partition]]) -> list[int]:
    """Let each member poll in turn, keep up what it owns, and say how much that is."""
    for member, mine in zip(members, owned, strict=True):
        polled = member.poll(0.1, 10)
        mine -= polled.revoked
        mine |= polled.assigned
    return [len(mine) for mine in owned]


def read_all(broker: Broker, topic: str, count: int, partitions: int = 4) -> list[Record]:
    """The first `count` committed records of a topic."""
    reader = broker.reader([Partition(topic, number) for number in range(partitions)])
    records: list[Record] = []
    until(lambda: records.extend(reader.read(0.2)) or len(records) >= count, f"{count} records")
    reader.close()
    return records


class TestTopics:
    """ensure_topics, delete_topics, partition_counts."""

    def test_creates_what_is_missing(self, broker: Broker, name: str) -> None:
        """Missing topics are created and named, existing ones are not."""
        assert broker.ensure_topics([TopicSettings(name, 3)], 20) == [name]
        assert broker.ensure_topics([TopicSettings(name, 3), TopicSettings(name + "-b", 1)], 20) == [name + "-b"]

        assert broker.partition_counts([name, name + "-b", name + "-none"], 5) == {name: 3, name + "-b": 1}

    def test_deletes_what_is_there(self, broker: Broker, name: str) -> None:
        """Named topics go, others stay; a topic that is not there is no error."""
        broker.ensure_topics([TopicSettings(name, 3), TopicSettings(name + "-b", 1)], 20)

        broker.delete_topics([name, name + "-none"], 20)

        until(lambda: broker.partition_counts([name, name + "-b"], 5) == {name + "-b": 1}, "the topic to be gone")

    def test_refuses_another_partition_count(self, broker: Broker, topic: str) -> None:
        """A partition count is never changed; the error names both counts and the remedy."""
        with pytest.raises(ConfigurationError, match=r"has 4 partitions, not 5.*topics\.partitions"):
            broker.ensure_topics([TopicSettings(topic, 5)], 20)


class TestProducer:
    """send, flush, close."""

    def test_delivers_with_offsets(self, broker: Broker, topic: str) -> None:
        """Every message is reported once, with the partition and offset it can be read at."""
        places = publish(broker, topic, at(1, b"a"), at(1, b"b"), at(2, b"c"))

        assert places == [(Partition(topic, 1), 0), (Partition(topic, 1), 1), (Partition(topic, 2), 0)]
        assert {(r.source, r.offset, r.value) for r in read_all(broker, topic, 3)} == {
            (Partition(topic, 1), 0, b"a"),
            (Partition(topic, 1), 1, b"b"),
            (Partition(topic, 2), 0, b"c"),
        }

    def test_keeps_everything_of_a_message(self, broker: Broker, topic: str) -> None:
        """Key, value, repeated headers and an empty value come back as they were sent, with a time stamp."""
        headers = (("kind", b"end"), ("session", b"1"), ("kind", b"twice"))
        publish(broker, topic, Message(b"camera", b"", headers, 0), Message(b"camera", None, (), 0))

        first, second = read_all(broker, topic, 2)
        assert (first.key, first.value, first.headers) == (b"camera", b"", headers)
        assert (second.value, second.headers) == (None, ())
        assert abs(first.timestamp_ms / 1000 - time.time()) < 60

    def test_keys_choose_partitions_by_murmur2(self, broker: Broker, topic: str) -> None:
        """A key goes where every Kafka client would send it: the values are Apache Kafka's own test vectors."""
        vectors = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
        places = publish(broker, topic, *(Message(key, b"v") for key in vectors))

        assert [p.number for p, _ in places] == [(h & 0x7FFFFFFF) % 4 for h in vectors.values()]

    def test_nothing_overtakes(self, broker: Broker, topic: str) -> None:
        """Messages for one partition are stored in the order of sending, also those sent before the topic was known."""
        values = [b"%d" % number for number in range(300)]
        publish(broker, topic, *(at(3, value) for value in values))

        assert [record.value for record in read_all(broker, topic, 300)] == values

    def test_refuses_what_is_too_large(self, broker: Broker, topic: str) -> None:
        """A message over the limit raises at once and is not sent; one just below it goes through."""
        producer = broker.producer()
        with pytest.raises(MessageTooLarge, match=r"1,000,1\d\d bytes.*kafka\.max_message_bytes"):
            producer.send(topic, at(0, bytes(1_000_050)))
        producer.close()

        assert publish(broker, topic, at(0, bytes(999_000))) == [(Partition(topic, 0), 0)]

    def test_reports_a_partition_that_does_not_exist(self, broker: Broker, topic: str) -> None:
        """A message for a partition that is not there is reported as a mistake in the configuration."""
        producer, reports = broker.producer(), []
        producer.send(topic, at(99), lambda *report: reports.append(report))
        until(lambda: reports or time.sleep(0.01), "the report")
        producer.close()

        assert reports[0][:2] == (None, -1)
        assert isinstance(reports[0][2], ConfigurationError)

    def test_closed_means_closed(self, broker: Broker, topic: str) -> None:
        """Sending after close is a programmer's mistake; closing twice is not."""
        producer = broker.producer()
        producer.close()
        producer.close()

        with pytest.raises(ContractError, match="closed"):
            producer.send(topic, at(0))


class TestReader:
    """read, positions, seek, bounds."""

    def test_reads_from_the_beginning_and_from_anywhere(self, broker: Broker, topic: str) -> None:
        """A reader begins at the first record, and after a seek at the offset asked for."""
        publish(broker, topic, *(at(0, b"%d" % number) for number in range(5)))
        reader = broker.reader([Partition(topic, 0)])
        found: list[Record] = []
        until(lambda: found.extend(reader.read(0.2, 2)) or len(found) == 5, "five records")
        reader.seek(Partition(topic, 0), 3)

        assert [record.value for record in found] == [b"0", b"1", b"2", b"3", b"4"]
        assert [record.value for record in reader.read(5.0)] == [b"3", b"4"]
        assert reader.read(0.0) == []
        reader.close()

    def test_passes_markers_of_transactions(self, broker: Broker, topic: str, name: str) -> None:
        """After reading to the end the position is the end, though the last offset belongs to no record."""
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        transactions.send(topic, at(0, b"a"))
        transactions.commit()
        transactions.close()
        partition = Partition(topic, 0)
        reader = broker.reader([partition])
        until(lambda: reader.read(0.2), "the record")
        reader.read(0.3)

        assert reader.positions() == {partition: 2}
        assert reader.bounds(5) == {partition: (0, 2)}
        reader.close()

    def test_seek_elsewhere_is_a_mistake(self, broker: Broker, topic: str) -> None:
        """A reader only seeks in partitions that it was made for."""
        reader = broker.reader([Partition(topic, 0)])
        with pytest.raises(ContractError, match="does not read"):
            reader.seek(Partition(topic, 1), 0)
        reader.close()


class TestTransactions:
    """begin, send, offsets, commit_positions, commit, abort."""

    def test_is_visible_only_once_committed(self, broker: Broker, topic: str, name: str) -> None:
        """Readers see nothing of an open transaction, nor anything behind it, and all of it at its commit.

        partition 0:  a(open)  b(plain)  ->  nothing;  after the commit  ->  a b
        """
        transactions = broker.transactions(name + "-id", 10)
        reader = broker.reader([Partition(topic, 0)])
        transactions.begin()
        transactions.send(topic, at(0, b"a"))
        assert transactions.offsets(5) == [(Partition(topic, 0), 0)]
        publish(broker, topic, at(0, b"b"))
        assert reader.read(0.5) == []
        assert reader.bounds(5) == {Partition(topic, 0): (0, 0)}
        transactions.commit()
        found: list[Record] = []
        until(lambda: found.extend(reader.read(0.2)) or len(found) == 2, "both records")

        assert [(record.value, record.offset) for record in found] == [(b"a", 0), (b"b", 1)]
        reader.close()
        transactions.close()

    def test_aborted_records_are_never_seen(self, broker: Broker, topic: str, name: str) -> None:
        """What was aborted stays hidden; the producer goes on with the next transaction."""
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        transactions.send(topic, at(0, b"no"))
        transactions.offsets(5)
        transactions.abort()
        transactions.begin()
        transactions.send(topic, at(0, b"yes"))
        transactions.commit()

        assert [record.value for record in read_all(broker, topic, 1)] == [b"yes"]
        transactions.close()

    def test_offsets_come_in_the_order_of_sending(self, broker: Broker, topic: str, name: str) -> None:
        """The offsets belong to this transaction's messages, one by one, whatever their partitions."""
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        for number in (2, 0, 2, 1):
            transactions.send(topic, at(number))

        assert transactions.offsets(5) == [
            (Partition(topic, 2), 0),
            (Partition(topic, 0), 0),
            (Partition(topic, 2), 1),
            (Partition(topic, 1), 0),
        ]
        transactions.commit()
        transactions.close()

    def test_positions_move_with_the_records(self, broker: Broker, topic: str, name: str) -> None:
        """Positions and metadata are committed with the transaction and dropped with it."""
        consumer, polled = joined(broker, topic, name + "-group")
        transactions = broker.transactions(name + "-id", 10)
        partition, metadata = Partition(topic, 0), '{"r":3}' + "x" * 4000
        transactions.begin()
        transactions.commit_positions({partition: Position(7, metadata)}, name + "-group", polled.token)
        transactions.commit()
        transactions.begin()
        transactions.commit_positions({partition: Position(9)}, name + "-group", polled.token)
        transactions.abort()

        assert consumer.committed([partition, Partition(topic, 1)], 10) == {
            partition: Position(7, metadata),
            Partition(topic, 1): None,
        }
        consumer.close()
        transactions.close()

    def test_an_open_transaction_holds_positions_back(self, broker: Broker, topic: str, name: str) -> None:
        """While a transaction is open its positions are undecided: whoever asks waits, up to the limit given."""
        consumer, polled = joined(broker, topic, name + "-group")
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        transactions.commit_positions({Partition(topic, 0): Position(5)}, name + "-group", polled.token)
        with pytest.raises(BrokerTimeout):
            consumer.committed([Partition(topic, 0)], 0.7)
        timer = threading.Timer(0.3, transactions.commit)
        timer.start()

        assert consumer.committed([Partition(topic, 0)], 10) == {Partition(topic, 0): Position(5)}
        timer.join()
        consumer.close()
        transactions.close()

    def test_refuses_too_much_metadata(self, broker: Broker, topic: str, name: str) -> None:
        """Metadata beyond 4096 bytes is a programmer's mistake, found before anything is sent."""
        consumer, polled = joined(broker, topic, name + "-group")
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        with pytest.raises(ContractError, match="4096"):
            transactions.commit_positions({Partition(topic, 0): Position(5, "x" * 4097)}, name + "-group", polled.token)
        transactions.abort()
        consumer.close()
        transactions.close()

    def test_a_message_too_large_leaves_the_transaction_usable(self, broker: Broker, topic: str, name: str) -> None:
        """A refused message was never part of the transaction; what else is in it can be committed."""
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        transactions.send(topic, at(0, b"small"))
        with pytest.raises(MessageTooLarge):
            transactions.send(topic, at(0, bytes(1_000_050)))
        transactions.commit()

        assert [record.value for record in read_all(broker, topic, 1)] == [b"small"]
        transactions.close()

    @pytest.mark.parametrize("call", ["send", "offsets", "commit", "abort", "begin twice"])
    def test_calls_out_of_order_are_mistakes(self, broker: Broker, topic: str, name: str, call: str) -> None:
        """What belongs inside a transaction is refused outside, and the other way round."""
        transactions = broker.transactions(name + "-id", 10)
        if call == "begin twice":
            transactions.begin()
        calls: dict[str, Callable[[], object]] = {
            "send": lambda: transactions.send(topic, at(0)),
            "offsets": lambda: transactions.offsets(1),
            "commit": transactions.commit,
            "abort": transactions.abort,
            "begin twice": transactions.begin,
        }
        with pytest.raises(ContractError):
            calls[call]()
        transactions.close()

    def test_a_successor_aborts_what_is_open(self, broker: Broker, topic: str, name: str) -> None:
        """A second producer of the same id drops the first one's open transaction, which can no longer be committed."""
        first = broker.transactions(name + "-id", 10)
        first.begin()
        first.send(topic, at(0, b"first"))
        first.offsets(5)
        second = broker.transactions(name + "-id", 10)
        second.begin()
        second.send(topic, at(0, b"second"))
        second.commit()
        with pytest.raises((TransactionAborted, FencedError)):
            first.commit()

        assert [record.value for record in read_all(broker, topic, 1)] == [b"second"]
        first.close()
        second.close()

    def test_fencing(self, broker: Broker, topic: str, name: str) -> None:
        """Where fencing is promised the first of two producers of one id learns that its place is taken."""
        first = broker.transactions(name + "-id", 10)
        first.begin()
        first.send(topic, at(0, b"first"))
        first.offsets(5)
        second = broker.transactions(name + "-id", 10)

        expected = FencedError if Capability.FENCING in broker.capabilities else TransactionAborted
        with pytest.raises(expected):
            first.commit()
        first.close()
        second.close()


class TestGroups:
    """group_consumer: assignment, seeking, tokens."""

    def test_reads_nothing_before_a_seek(self, broker: Broker, topic: str, name: str) -> None:
        """A new partition yields nothing before its owner seeks, even if a position is committed."""
        publish(broker, topic, at(0, b"a"), at(0, b"b"), at(1, b"c"))
        consumer, polled = joined(broker, topic, name + "-group")
        assert not polled.records
        assert not consumer.poll(0.5, 10).records
        consumer.seek(Partition(topic, 0), 1)
        found: list[Polled] = []
        until(lambda: found.append(consumer.poll(0.2, 10)) or found[-1].records, "a record")

        assert {p: [r.value for r in records] for p, records in found[-1].records.items()} == {
            Partition(topic, 0): [b"b"]
        }
        consumer.close()

    def test_pause_and_resume(self, broker: Broker, topic: str, name: str) -> None:
        """A paused partition gives nothing, even after a seek, until it is resumed."""
        publish(broker, topic, at(0, b"a"), at(1, b"b"))
        consumer, _ = joined(broker, topic, name + "-group")
        consumer.pause([Partition(topic, 0)])
        for number in range(4):
            consumer.seek(Partition(topic, number), 0)
        found: list[bytes | None] = []

        def gather() -> int:
            for records in consumer.poll(0.2, 10).records.values():
                found.extend(record.value for record in records)
            return len(found)

        until(gather, "the record of the other partition")
        assert (gather(), found) == (1, [b"b"])
        consumer.resume([Partition(topic, 0)])
        until(lambda: gather() == 2, "the paused record")

        assert found == [b"b", b"a"]
        consumer.close()

    def test_seek_back_reads_again(self, broker: Broker, topic: str, name: str) -> None:
        """After a seek backwards the same records come again, and nothing fetched before is left over.

        0 1 2 3 4, then seek(2):  2 3 4
        """
        publish(broker, topic, *(at(0, b"%d" % number) for number in range(5)))
        consumer, _ = joined(broker, topic, name + "-group")
        consumer.seek(Partition(topic, 0), 0)
        found: list[bytes | None] = []

        def gather(wanted: int) -> bool:
            for records in consumer.poll(0.2, 2).records.values():
                found.extend(record.value for record in records)
            return len(found) >= wanted

        until(lambda: gather(2), "two records")
        first = len(found)
        consumer.seek(Partition(topic, 0), 2)
        until(lambda: gather(first + 3), "three more")

        assert found[first:] == [b"2", b"3", b"4"]
        consumer.close()

    def test_a_second_member_takes_half(self, broker: Broker, topic: str, name: str) -> None:
        """Partitions move to a new member without ever being owned by both, and come back when it leaves."""
        first, _ = joined(broker, topic, name + "-group")
        second = broker.group_consumer(topic, name + "-group")
        mine: set[Partition] = {Partition(topic, number) for number in range(4)}
        other: set[Partition] = set()

        until(lambda: shares([first, second], [mine, other]) == [2, 2], "two and two")
        assert mine | other == {Partition(topic, number) for number in range(4)}
        second.close()
        until(lambda: mine.update(first.poll(0.1, 10).assigned) or len(mine) == 4, "all four again")
        first.close()

    def test_a_member_takes_the_place_of_its_predecessor(self, broker: Broker, topic: str, name: str) -> None:
        """One that was killed cannot leave; whoever joins in its slot does not wait for its session to end.

        slot a, first    joins, owns 0-3, then never polls again
        slot b                             joins, gets nothing from who does not poll
        slot a, second                                  joins, and the two share what the first had
        """
        group = name + "-group"
        killed = broker.group_consumer(topic, group, 60, "a")
        until(lambda: len(killed.poll(0.1, 1).assigned) == 4, "the assignment")
        members = [broker.group_consumer(topic, group, 60, slot) for slot in ("b", "a")]
        owned: list[set[Partition]] = [set(), set()]
        until(lambda: shares(members, owned) == [2, 2], "two partitions for each")
        for member in [*members, killed]:
            member.close()

    def test_a_freed_place_goes_to_the_others(self, broker: Broker, topic: str, name: str) -> None:
        """Of a member that was killed and has no successor yet. A place that nobody has is no error."""
        group = name + "-group"
        killed = broker.group_consumer(topic, group, 60, "a")
        until(lambda: len(killed.poll(0.1, 1).assigned) == 4, "the assignment")
        other = broker.group_consumer(topic, group, 60, "b")
        broker.free(group, "a")
        broker.free(group, "c")
        until(lambda: len(other.poll(0.1, 1).assigned) == 4, "the assignment")
        for member in (other, killed):
            member.close()

    def test_a_stale_token_is_refused(self, broker: Broker, topic: str, name: str) -> None:
        """A commit made with the membership of before a rebalance aborts, and leaves positions as they were.

        Its token knows that it is stale, and the token of a later poll is not.
        """
        first, polled = joined(broker, topic, name + "-group")
        assert polled.token is not None and polled.token.current()
        second = broker.group_consumer(topic, name + "-group")
        until(lambda: second.poll(0.1, 10).assigned or first.poll(0.1, 10).revoked, "a rebalance")
        until(lambda: first.poll(0.1, 10) and second.poll(0.1, 10).assigned, "the end of the rebalance")
        until(lambda: (token := first.poll(0.1, 10).token) and token.current(), "a membership that is not stale")
        assert not polled.token.current()
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        with pytest.raises(TransactionAborted):
            transactions.commit_positions({Partition(topic, 0): Position(5)}, name + "-group", polled.token)
            transactions.commit()
        transactions.abort()

        assert first.committed([Partition(topic, 0)], 10) == {Partition(topic, 0): None}
        for client in (first, second, transactions):
            client.close()

    def test_a_successor_finds_the_positions(self, broker: Broker, topic: str, name: str) -> None:
        """Whoever takes a partition over reads the position that its predecessor committed."""
        consumer, polled = joined(broker, topic, name + "-group")
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        transactions.commit_positions({Partition(topic, 3): Position(42, "r")}, name + "-group", polled.token)
        transactions.commit()
        consumer.close()
        successor, _ = joined(broker, topic, name + "-group")

        assert successor.committed([Partition(topic, 3)], 10) == {Partition(topic, 3): Position(42, "r")}
        successor.close()
        transactions.close()

    def test_lag_counts_what_is_not_processed(self, broker: Broker, topic: str, name: str) -> None:
        """Lag is the distance from the committed position, or the beginning, to the end."""
        publish(broker, topic, *(at(0) for _ in range(5)), at(1))
        consumer, polled = joined(broker, topic, name + "-group")
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        transactions.commit_positions({Partition(topic, 0): Position(2)}, name + "-group", polled.token)
        transactions.commit()

        lag = broker.lag(name + "-group", topic, 10)
        assert [lag[Partition(topic, number)] for number in range(4)] == [3, 1, 0, 0]
        consumer.close()
        transactions.close()

    def test_bounds_of_partitions(self, broker: Broker, topic: str, name: str) -> None:
        """First and end offset of partitions, owned or not."""
        publish(broker, topic, at(0), at(0), at(2))
        consumer, _ = joined(broker, topic, name + "-group")

        assert consumer.bounds([Partition(topic, 0), Partition(topic, 1)], 10) == {
            Partition(topic, 0): (0, 2),
            Partition(topic, 1): (0, 0),
        }
        consumer.close()

    def test_seek_elsewhere_is_a_mistake(self, broker: Broker, topic: str, name: str) -> None:
        """A member only seeks in partitions that it owns."""
        consumer, _ = joined(broker, topic, name + "-group")
        with pytest.raises(ContractError, match="does not own"):
            consumer.seek(Partition(topic, 17), 0)
        consumer.close()

    def test_polling_after_close_is_a_mistake(self, broker: Broker, topic: str, name: str) -> None:
        """A closed member cannot be polled; closing it twice does no harm."""
        consumer, _ = joined(broker, topic, name + "-group")
        consumer.close()
        consumer.close()

        with pytest.raises(ContractError, match="closed"):
            consumer.poll(0, 1)


def test_check_answers(broker: Broker) -> None:
    """A reachable cluster passes the check without a word."""
    broker.check(5)
