"""What the in-process broker offers beyond the contract: loss on purpose, retention, determinism."""

from pipeline.broker.contract import Position, TopicSettings
from pipeline.broker.in_process import InProcessBroker, InProcessConsumer
from pipeline.errors import TransactionAborted
from pipeline.records.wire import Message, Partition, Record

FRAMES = [Partition("frames", number) for number in range(4)]


def broker(**options: int) -> InProcessBroker:
    """A broker with one topic and a clock that stands still."""
    made = InProcessBroker(now_ms=lambda: 1000)
    made.ensure_topics([TopicSettings("frames", 4)], 1)
    return made


def fill(made: InProcessBroker, partition: int, *values: bytes) -> None:
    """Publish values to one partition."""
    producer = made.producer()
    for value in values:
        producer.send("frames", Message(b"camera", value, (), partition))


def test_lost_and_regained_in_one_poll_is_in_both() -> None:
    """A partition that goes and comes back between two polls is reported as revoked and as assigned, and stays silent.

    poll: assigned 0 1 2 3 -- lose(2) -- poll: revoked 2, assigned 2
    """
    made = broker()
    fill(made, 2, b"a")
    consumer = made.group_consumer("frames", "g")
    consumer.poll(0, 10)
    consumer.seek(FRAMES[2], 0)
    consumer.lose([FRAMES[2]])
    polled = consumer.poll(0, 10)

    assert (polled.revoked, polled.assigned) == (frozenset([FRAMES[2]]), frozenset([FRAMES[2]]))
    assert not polled.records


def test_a_commit_of_before_the_loss_is_refused() -> None:
    """Once the member has polled through a loss, the token of before is worth nothing."""
    made = broker()
    consumer = made.group_consumer("frames", "g")
    token = consumer.poll(0, 10).token
    consumer.lose([FRAMES[2]])
    consumer.poll(0, 10)
    transactions = made.transactions("w", 1)
    transactions.begin()
    try:
        transactions.commit_positions({FRAMES[0]: Position(1)}, "g", token)
        refused = False
    except TransactionAborted:
        refused = True

    assert refused


def test_an_expired_member_loses_everything_and_joins_again() -> None:
    """After a session time-out the other member owns all; the sleeper learns of it at its next poll."""
    made = broker()
    sleeper, other = made.group_consumer("frames", "g"), made.group_consumer("frames", "g")
    owned = _settle(sleeper, other)
    assert [len(partitions) for partitions in owned] == [2, 2]
    sleeper.expire()
    assert len(other.poll(0, 1).assigned) == 2
    polled = sleeper.poll(0, 1)

    assert polled.revoked == owned[0]
    assert other.poll(0, 1).revoked | other.owned == frozenset(FRAMES)


def test_skipped_says_what_retention_took() -> None:
    """When records are deleted before they were read, reading resumes at the first one left and reports the gap.

    0 1 2 | 3 4     due 1, found 3
    """
    made = broker()
    fill(made, 0, b"0", b"1", b"2", b"3", b"4")
    consumer = made.group_consumer("frames", "g")
    consumer.poll(0, 10)
    consumer.seek(FRAMES[0], 1)
    made.delete_before(FRAMES[0], 3)
    polled = consumer.poll(0, 10)

    assert polled.skipped == {FRAMES[0]: (1, 3)}
    assert [record.value for record in polled.records[FRAMES[0]]] == [b"3", b"4"]
    assert made.reader([FRAMES[0]]).bounds(1) == {FRAMES[0]: (3, 5)}


def test_the_same_calls_give_the_same_records() -> None:
    """Two brokers that are used alike hand out identical records in an identical order."""

    def run() -> list[Record]:
        made = broker()
        for number in range(40):
            fill(made, number % 3, b"%d" % number)
        consumer = made.group_consumer("frames", "g")
        for partition in sorted(consumer.poll(0, 1).assigned):
            consumer.seek(partition, 0)
        polls = [consumer.poll(0, 7) for _ in range(12)]
        return [record for polled in polls for records in polled.records.values() for record in records]

    first = run()
    assert len(first) == 40
    assert first == run()


def _settle(*members: InProcessConsumer) -> list[frozenset[Partition]]:
    for _ in range(4):
        for member in members:
            member.poll(0, 1)
    return [member.owned for member in members]


def test_a_topic_that_is_made_anew_begins_anew() -> None:
    """Positions of the old one would have everybody wait for what it held."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings("frames", 1)], 1)
    broker.producer().send("frames", Message(b"door", b"x"))
    consumer = broker.group_consumer("frames", "group")
    token = consumer.poll(0.1, 1).token
    transactions = broker.transactions("someone", 1)
    transactions.begin()
    assert token is not None
    transactions.commit_positions({Partition("frames", 0): Position(1, "")}, "group", token)
    transactions.commit()

    broker.delete_topics(["frames"], 1)
    broker.ensure_topics([TopicSettings("frames", 1)], 1)

    assert broker.lag("group", "frames", 1) == {Partition("frames", 0): 0}
    assert broker._logs.position("group", Partition("frames", 0)) is None
