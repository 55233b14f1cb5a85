"""What kafka-python's group member does at the wrong moment, on a real broker: see `membership`."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import MemberToRemove
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState

from pipeline.broker.contract import Broker, Polled, Position
from pipeline.broker.kafka_python.consumer import KafkaGroupConsumer, group_options
from pipeline.errors import TransactionAborted
from pipeline.local.broker_node import BrokerNode
from pipeline.records.wire import Partition

pytestmark = pytest.mark.kafka

DEADLINE = 30.0


@pytest.fixture
def broker(kafka: Callable[..., Broker]) -> Broker:
    """A client of the shared node."""
    return kafka()


def until(step: Callable[[], object], what: str) -> None:
    """Repeat a step until it returns something true."""
    deadline = time.monotonic() + DEADLINE
    while not step():
        assert time.monotonic() < deadline, f"never saw {what}"


def member_of(broker: Broker, topic: str, group: str, count: int = 4) -> KafkaGroupConsumer:
    """A member that owns as many partitions."""
    member = broker.group_consumer(topic, group)
    assert isinstance(member, KafkaGroupConsumer)
    owned: set[Partition] = set()

    def joined() -> bool:
        polled = member.poll(0.1, 1)
        owned.difference_update(polled.revoked)
        owned.update(polled.assigned)
        return len(owned) == count

    until(joined, f"{count} partitions")
    return member


def coordinator(member: KafkaGroupConsumer) -> Any:
    """The library's side of a membership."""
    return member._consumer._coordinator


def expel(bootstrap: str, group: str) -> None:
    """Throw every member out, as the broker does when it hears nothing for a session."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        members = admin.describe_groups([group])[group]["members"]
        admin.remove_group_members(group, [MemberToRemove(one["member_id"]) for one in members])
    finally:
        admin.close()


def test_a_join_that_ends_between_two_polls_counts(broker: Broker, topic: str, name: str) -> None:
    """Two members of one thread, which is elsewhere most of the time, share a topic after two rebalances, not never.

    poll      |--|           |--|           |--|
    join         asked .. answered   seen
    """
    members = [broker.group_consumer(topic, name) for _ in range(2)]
    owned: list[set[Partition]] = [set(), set()]
    generations: set[int] = set()

    def balanced() -> bool:
        for member, mine in zip(members, owned, strict=True):
            polled = member.poll(0.02, 1)
            time.sleep(0.15)
            mine -= polled.revoked
            mine |= polled.assigned
            assert isinstance(member, KafkaGroupConsumer)
            generations.add(coordinator(member).group_metadata().generation_id)
        return [len(mine) for mine in owned] == [2, 2]

    until(balanced, "two partitions for each")
    assert max(generations) <= 5
    for member in members:
        member.close()


@pytest.mark.parametrize("learns", ["from a heartbeat", "from a join"])
def test_an_expelled_member_has_lost_everything(
    broker: Broker, broker_node: BrokerNode, topic: str, name: str, learns: str
) -> None:
    """Whatever it gets back after that it must restore: others may have worked on it.

    member   owns 0-3 ........ expelled ... joins, claiming nothing ... owns 0-3
    poll              |--|                |-- revoked 0-3, assigned 0-3 --|
    """
    member = member_of(broker, topic, name)
    expel(broker_node.bootstrap, name)
    if learns == "from a join":
        coordinator(member).request_rejoin()
    seen: list[Polled] = []
    claims: list[object] = []
    told = coordinator(member)._assignors["cooperative-sticky"].metadata
    coordinator(member)._assignors["cooperative-sticky"].metadata = lambda topics: (
        claims.append(told(topics).owned_partitions) or told(topics)
    )

    def regained() -> bool:
        seen.append(member.poll(0.1, 1))
        return len(seen[-1].assigned) == 4

    until(regained, "all partitions again")
    assert len(frozenset[Partition]().union(*(polled.revoked for polled in seen))) == 4
    assert claims[-1] == []
    member.close()


class _Slow(CooperativeStickyAssignor):  # type: ignore[misc]
    """A leader that takes its time: the others have joined, and do not know yet what is theirs."""

    seconds = 0.0

    def assign(self, cluster: Any, members: Any) -> Any:
        """After a rest."""
        time.sleep(self.seconds)
        return super().assign(cluster, members)


@contextmanager
def slow_leader(bootstrap: str, topic: str, group: str) -> Iterator[_Slow]:
    """A member of the library's own, first in its group."""
    assignor = _Slow()
    options: Mapping[str, Any] = group_options(group, 10) | {"partition_assignment_strategy": [assignor]}
    leader = KafkaConsumer(topic, bootstrap_servers=bootstrap, **{**options, "auto_offset_reset": "latest"})
    until(lambda: leader.poll(timeout_ms=100) or len(leader.assignment()) == 4, "a leader")
    over = threading.Event()

    def lead() -> None:
        while not over.is_set():
            leader.poll(timeout_ms=100)

    thread = threading.Thread(target=lead)
    thread.start()
    try:
        yield assignor
    finally:
        over.set()
        thread.join()
        leader.close()


def test_a_generation_counts_once_its_assignment_is_known(
    broker: Broker, broker_node: BrokerNode, topic: str, name: str
) -> None:
    """Between joining a generation and knowing what it assigns, a commit is refused: it may be of another's partition.

    member      generation 2      | joined 3 ........ assigned
    token       2, current        | 2, stale          3, current
    """
    with slow_leader(broker_node.bootstrap, topic, name) as leader:
        member = member_of(broker, topic, name, 2)
        before = member.poll(0.3, 1).token
        assert before is not None and before.current()
        leader.seconds = 2.0
        other = broker.group_consumer(topic, name)
        between: list[Polled] = []

        def joined() -> bool:
            other.poll(0.05, 1)
            polled = member.poll(0.05, 1)
            now = coordinator(member).group_metadata()
            if now.state == MemberState.REBALANCING and now.generation_id > before.opaque.generation_id:  # type: ignore[attr-defined]
                between.append(polled)
            return bool(between)

        until(joined, "a generation whose assignment is not known")
        token = between[0].token
        assert token == before and not token.current()
        transactions = broker.transactions(name + "-id", 10)
        transactions.begin()
        with pytest.raises(TransactionAborted):
            transactions.commit_positions({Partition(topic, 0): Position(7, "")}, name, token)
            transactions.commit()
        transactions.close()
        leader.seconds = 0.0
        until(lambda: (later := member.poll(0.1, 1).token) and later != before and later.current(), "its assignment")
        other.close()
        member.close()
