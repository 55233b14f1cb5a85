"""A request of a transaction whose connection broke, and which the broker gets all the same, much later.

No proxy is needed: `Network` keeps one request, breaks its connection, and delivers it when its time has come. The
broker is real. `work` does what a worker does: a transaction per step, and after an error a new producer that goes on
at the committed position.
"""

import contextlib
import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import KafkaAdminClient, errors
from kafka.future import Future
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    ProduceRequest,
    TxnOffsetCommitRequest,
)
from late import error_codes

from pipeline.broker import connect
from pipeline.broker.contract import Broker, GroupConsumer, GroupToken, Position, TopicSettings, Transactions
from pipeline.broker.kafka_python import connection
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import FencedError, TransientError
from pipeline.local.broker_node import BrokerNode
from pipeline.records.wire import Message, Partition

pytestmark = pytest.mark.kafka

SCENARIOS = 32
"""At most; each has partitions of its own."""
STEPS = 4
"""Transactions that are due in each scenario."""
FENCED = {"ProducerFencedError", "InvalidProducerEpochError"}
_numbers = itertools.count()

NOW = ("send", "acknowledge", "positions")
"""The order of a worker."""


@dataclass
class Network:
    """Loses one request: the first of its kind that is sent once `armed`. It arrives before the `arrives` of another.

    `arrives` names that other one: a kind, and how many of it come after the loss.
    """

    other: KafkaAdminClient
    lost: type
    arrives: tuple[type, int]
    armed: bool = False
    held: Any = None
    """(request, the node that it was sent to)"""
    seen: int = 0
    late: list[str] = field(default_factory=list)
    """What the broker answered."""

    def send(self, original: Any, manager: Any, request: Any, node_id: Any = None, **options: Any) -> Any:
        """Stands in the place of the library's send."""
        if self.armed and self.held is None and isinstance(request, self.lost):
            self.held = copy.copy(request)
            return Future().failure(errors.KafkaConnectionError("socket disconnected"))
        if self.held and not self.late and isinstance(request, self.arrives[0]):
            self.seen += 1
            if self.seen == self.arrives[1]:
                self.deliver()
        return original(manager, request, node_id=node_id, **options)

    def deliver(self) -> None:
        """The late request arrives; its answer finds nobody but us."""
        answer = self.other._manager.run(self.other._manager.send, self.held, 1)
        codes = error_codes(answer.to_dict())
        self.late += sorted(errors.for_code(code).__name__ for code in codes) or ["NoError"]


@dataclass
class Place:
    """Where one scenario works: a source partition with a committed position, and a partition for its events."""

    broker: Broker
    consumer: GroupConsumer
    token: GroupToken
    stale: GroupToken
    source: Partition
    events: Partition
    group: str

    @property
    def position(self) -> int:
        """What is committed."""
        committed = self.consumer.committed([self.source], 20)[self.source]
        return committed.offset if committed else 0

    def read(self) -> list[str]:
        """What a subscriber gets."""
        reader, found = self.broker.reader([self.events]), list[str]()
        end = reader.bounds(10)[self.events][1]
        while reader.positions()[self.events] < end:
            found += [(record.value or b"").decode() for record in reader.read(0.5)]
        reader.close()
        return found


@pytest.fixture(scope="module")
def shared(broker_node: BrokerNode) -> Iterator[tuple[Broker, GroupConsumer, GroupToken, str, KafkaAdminClient]]:
    """One member of one group for all scenarios, and a connection for what is late."""
    broker, name = connect(KafkaSettings(bootstrap=broker_node.bootstrap)), f"late-{id(broker_node)}"
    broker.ensure_topics([TopicSettings(f"{name}.{one}", SCENARIOS) for one in ("frames", "events")], 20)
    consumer = broker.group_consumer(f"{name}.frames", name)
    while not (polled := consumer.poll(0.5, 10)).assigned:
        pass
    assert polled.token is not None
    other = KafkaAdminClient(bootstrap_servers=[broker_node.bootstrap])
    yield broker, consumer, polled.token, name, other
    other.close()
    consumer.close()
    broker.close()


@pytest.fixture
def place(shared: tuple[Broker, GroupConsumer, GroupToken, str, KafkaAdminClient]) -> Place:
    """A fresh place."""
    broker, consumer, token, name, _ = shared
    number, membership = next(_numbers), token.opaque
    stale = GroupToken(membership._replace(generation_id=membership.generation_id + 7))  # type: ignore[attr-defined]
    source, events = Partition(f"{name}.frames", number), Partition(f"{name}.events", number)
    return Place(broker, consumer, token, stale, source, events, name)


@pytest.fixture
def network(
    shared: tuple[Broker, GroupConsumer, GroupToken, str, KafkaAdminClient], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Network]:
    """What all clients of these tests send by, from now on; it loses nothing before it is told to."""
    made, original = Network(shared[4], object, (object, 0)), connection._Manager.send
    monkeypatch.setattr(connection._Manager, "send", lambda manager, *a, **o: made.send(original, manager, *a, **o))
    yield made


def work(place: Place, network: Network, order: tuple[str, ...], refused: int = -1) -> None:
    """Do STEPS transactions; the second one loses its request. `refused`: positions under a stale membership, once."""
    name = f"{place.group}-{place.source.number}"
    transactions, number, refusals = place.broker.transactions(name, 10), 0, 0
    while number < STEPS:
        network.armed = network.armed or number == 1
        stale = number == refused and not refusals
        refusals += stale
        try:
            _transact(place, transactions, order, number, place.stale if stale else place.token)
            number += 1
            assert place.position == number, "a position moved back"
        except (TransientError, FencedError):  # a process that was fenced ends, and is started again
            transactions.close()
            transactions = _renewed(place, name)
            number = place.position
    transactions.close()


def _renewed(place: Place, name: str) -> Transactions:
    while True:
        with contextlib.suppress(TransientError, FencedError):
            return place.broker.transactions(name, 10)


def _transact(place: Place, transactions: Transactions, order: tuple[str, ...], number: int, token: GroupToken) -> None:
    transactions.begin()
    for place_in_order, step in enumerate(order):
        if step == "send":
            value = f"event {number} of step {place_in_order}".encode()
            transactions.send(place.events.topic, Message(b"camera", value, (), place.events.number))
        elif step == "acknowledge":
            transactions.offsets(5.0)
        else:
            transactions.commit_positions({place.source: Position(number + 1)}, place.group, token)
    transactions.commit()


def due(order: tuple[str, ...]) -> list[str]:
    """Every event once."""
    return [
        f"event {number} of step {at}" for number in range(STEPS) for at, step in enumerate(order) if step == "send"
    ]


TWO_SENDS = ("send", "acknowledge", "send", "acknowledge", "positions")
POSITIONS_FIRST = ("positions", "send")


@pytest.mark.parametrize(
    ("lost", "arrives", "order", "refused"),
    [
        pytest.param(EndTxnRequest, (TxnOffsetCommitRequest, 1), NOW, -1, id="end, before the positions"),
        pytest.param(EndTxnRequest, (AddOffsetsToTxnRequest, 1), NOW, 2, id="end, before refused positions"),
        pytest.param(EndTxnRequest, (ProduceRequest, 2), TWO_SENDS, -1, id="end, between two batches"),
        pytest.param(EndTxnRequest, (ProduceRequest, 1), POSITIONS_FIRST, -1, id="end, before the records"),
        pytest.param(EndTxnRequest, (EndTxnRequest, 2), NOW, -1, id="end, before the next end"),
        pytest.param(TxnOffsetCommitRequest, (EndTxnRequest, 2), NOW, 3, id="positions, after the next ones"),
        pytest.param(
            TxnOffsetCommitRequest, (TxnOffsetCommitRequest, 2), NOW, -1, id="positions, before the next ones"
        ),
        pytest.param(TxnOffsetCommitRequest, (AddPartitionsToTxnRequest, 1), NOW, -1, id="positions, in between"),
        pytest.param(AddOffsetsToTxnRequest, (AddPartitionsToTxnRequest, 1), NOW, -1, id="add offsets, in between"),
        pytest.param(AddOffsetsToTxnRequest, (EndTxnRequest, 2), NOW, -1, id="add offsets, in the next one"),
        pytest.param(
            AddPartitionsToTxnRequest, (AddPartitionsToTxnRequest, 2), NOW, -1, id="add partitions, in between"
        ),
        pytest.param(AddPartitionsToTxnRequest, (EndTxnRequest, 2), NOW, -1, id="add partitions, in the next one"),
    ],
)
def test_a_late_request_is_refused_and_tears_nothing(
    place: Place, network: Network, lost: type, arrives: tuple[type, int], order: tuple[str, ...], refused: int
) -> None:
    """Every event comes once, no position moves back, and whatever comes late is of a producer that is over.

    transaction   0        1 lost, in doubt     (a new producer)   1 or 2 ...    late: fenced
    position      1        ?                    read back          2 or 3 ...    unmoved
    """
    network.lost, network.arrives = lost, arrives

    work(place, network, order, refused)

    assert place.read() == due(order)
    assert place.position == STEPS
    assert network.late and set(network.late) <= FENCED


def test_a_commit_that_happened_although_its_connection_broke_is_not_repeated(place: Place, network: Network) -> None:
    """The request arrives before its producer is renewed: the commit counts, and work goes on behind it."""
    network.lost, network.arrives = EndTxnRequest, (InitProducerIdRequest, 1)

    work(place, network, NOW)

    assert network.late == ["NoError"]
    assert place.read() == due(NOW)
    assert place.position == STEPS


def test_late_records_are_dropped_by_their_sequence(place: Place, network: Network) -> None:
    """The library may send records again: those of a producer are numbered."""
    network.lost, network.arrives = ProduceRequest, (EndTxnRequest, 2)

    work(place, network, NOW)

    assert network.late
    assert place.read() == due(NOW)
    assert place.position == STEPS


def test_a_late_initialisation_fences_and_tears_nothing(place: Place, network: Network) -> None:
    """What the client cannot prevent: the living producer is fenced, its process ends, and the next goes on."""
    network.lost, network.arrives = InitProducerIdRequest, (TxnOffsetCommitRequest, 2)

    work(place, network, NOW, refused=1)

    assert network.late == ["ConcurrentTransactionsError"]  # "ask again, while I abort what is open"
    assert place.read() == due(NOW)
    assert place.position == STEPS
