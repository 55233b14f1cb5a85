"""The commit, as numbered steps: events, states and offsets move together or not at all (ARCHITECTURE 5).

    1  collect the events, dead letters and changed camera states of current epochs
    2  per partition: P, the offset of the next record, and R
    3  begin a transaction
    4  send events and dead letters (the analyser makes them only of offsets at or above P of the last commit)
    5  send the state snapshots, and wait until all that was sent is acknowledged
    6  send {P, metadata {r: R, s: offset of the last state record, v: label version, w, b}} with the group membership
    7  commit

The membership is the newest one that the poll thread published. The poll thread first ends the epochs of what a poll
took away and then publishes its membership. So this worker owns every partition that is still current here, under that
membership, and the broker refuses an older one. While the consumer knows of a newer membership that no poll has
returned yet, the commit waits before step 1.

`fail_points.reached` marks the steps for failure tests; in production it does nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.analysis.analyser import Analyser, Outcome
from pipeline.analysis.partition import Dead, Fired, Snapshot
from pipeline.broker.contract import GroupToken, Transactions
from pipeline.records.dead import encode_dead_letter
from pipeline.records.events import encode_event
from pipeline.records.state import encode_state
from pipeline.records.wire import Message, Partition
from pipeline.worker import fail_points
from pipeline.worker.epochs import Epochs
from pipeline.worker.positions import encode_position

OFFSETS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where a commit writes."""

    events: str
    state: str
    dead: str
    group: str
    source: str
    """CloudEvents source of the events."""


@dataclass(slots=True)
class Pending:
    """Decisions since the last commit."""

    fired: list[Fired] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a batch."""
        self.fired += outcome.fired
        self.dead += outcome.dead

    @property
    def urgent(self) -> bool:
        """True if something must be committed at once."""
        return bool(self.fired or self.dead)


@dataclass(slots=True)
class Committer:
    """Writes what an analyser decided. `commit` may run on another thread than everything else, never beside it."""

    analyser: Analyser
    epochs: Epochs
    to: Destinations
    opened: dict[Partition, int] = field(default_factory=dict)
    """Epoch under which each partition was opened."""
    pending: Pending = field(default_factory=Pending)

    def commit(self, transactions: Transactions, token: GroupToken | None) -> list[Fired] | None:
        """Commit everything pending; return the events that are visible now, None if there was nothing to commit.

        Raises TransactionAborted or FencedError. Then nothing of it is visible, or all of it, and `leave` must follow:
        only the positions that the next assignment reads say which.
        """
        fail_points.reached("commit:1")
        current = self._current()
        if token is None:
            return None
        fired, dead = self.pending.fired, self.pending.dead
        fail_points.reached("commit:2")
        snapshots = self.analyser.snapshot(current)
        if not snapshots:
            return None
        fail_points.reached("commit:3")
        transactions.begin()
        fail_points.reached("commit:4")
        for one in fired:
            message = encode_event(one.event, self.to.source)
            transactions.send(self.to.events, _at(message, one.partition.number))
        for bad in dead:
            transactions.send(self.to.dead, encode_dead_letter(bad.record, bad.reason, bad.message))
        fail_points.reached("commit:5")
        self._write_states(transactions, snapshots, skip=len(fired) + len(dead))
        fail_points.reached("commit:6")
        positions = {
            partition: encode_position(self.analyser.partitions[partition].placed(snapshot.committed))
            for partition, snapshot in snapshots.items()
        }
        transactions.commit_positions(positions, self.to.group, token)
        fail_points.reached("commit:7")
        transactions.commit()
        fail_points.reached("commit:done")
        for partition, snapshot in snapshots.items():
            self.analyser.partitions[partition].streams.committed = snapshot.committed.position
        self.pending = Pending()
        return fired

    def open(self, partition: Partition, epoch: int, fired: list[Fired]) -> None:
        """Note that a partition was opened under an epoch. What an older epoch left pending will be decided again."""
        self.opened.pop(partition, None)
        self._keep_only(self.opened)
        self.opened[partition] = epoch
        self.pending.fired += fired

    def leave(self) -> None:
        """Close every partition, end its epoch and drop everything pending."""
        self.epochs.end(self.opened)
        for partition in self.opened:
            self.analyser.close(partition)
        self.opened.clear()
        self.pending = Pending()

    def close(self, partitions: Iterable[Partition]) -> None:
        """Close these; what is pending of them is dropped. Another worker decides it, or this one will again."""
        for partition in partitions:
            self.analyser.close(partition)
            self.opened.pop(partition, None)
        self._keep_only(self.opened)

    def _current(self) -> list[Partition]:
        """Step 1: the partitions whose epoch goes on; what is pending of others is dropped."""
        current = [one for one, epoch in self.opened.items() if self.epochs.is_current(one, epoch)]
        self._keep_only(current)
        return current

    def _keep_only(self, partitions: Collection[Partition]) -> None:
        self.pending.fired = [one for one in self.pending.fired if one.partition in partitions]
        self.pending.dead = [one for one in self.pending.dead if one.record.source in partitions]

    def _write_states(self, transactions: Transactions, snapshots: Mapping[Partition, Snapshot], skip: int) -> None:
        """Step 5: one record per changed camera, empty if the camera was removed. skip: records sent before them.

        Positions never precede what they stand for: whatever ends this transaction early, no record is lost by it.
        """
        senders: list[Partition] = []
        for partition, snapshot in snapshots.items():
            for camera, state in snapshot.changed.items():
                message = Message(camera.encode(), None) if state is None else encode_state(state)
                transactions.send(self.to.state, _at(message, partition.number))
                senders.append(partition)
        offsets = transactions.offsets(OFFSETS_SECONDS)[skip:]
        for partition, (_, offset) in zip(senders, offsets, strict=True):
            self.analyser.partitions[partition].state_offset = offset


def _at(message: Message, partition: int) -> Message:
    return Message(message.key, message.value, message.headers, partition)
