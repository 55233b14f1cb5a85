"""Commit, as numbered steps: events, states and offsets move together or not at all (ARCHITECTURE 5).

    1  collect the events, dead letters and changed camera states of current epochs
    2  per partition: P, the offset of the next record, and R
    3  begin a transaction
    4  send events and dead letters (only of offsets >= P of the last commit: the path makes no others)
    5  send the state snapshots, and wait until all that was sent is acknowledged
    6  send {P, metadata {r: R, s: offset of the last state record, v: label version}} with the group membership
    7  commit

The membership is the newest that the poll thread published. It publishes one only after it ended the epochs of what
that poll took away, so a partition that is still current here is owned under it; an older one is refused by the broker.
So before step 1 a commit waits while the consumer knows of a newer one that no poll has brought yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.analysis.analyser import Outcome, Path
from pipeline.analysis.partition import Dead, Fired, Snapshot
from pipeline.broker.contract import GroupToken, Transactions
from pipeline.records.dead import encode_dead_letter
from pipeline.records.events import encode_event
from pipeline.records.state import encode_state
from pipeline.records.wire import Message, Partition
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
    """What was decided since the last commit."""

    fired: list[Fired] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Keep what a batch led to."""
        self.fired += outcome.fired
        self.dead += outcome.dead

    @property
    def urgent(self) -> bool:
        """True when something must be committed at once."""
        return bool(self.fired or self.dead)


@dataclass(slots=True)
class Commits:
    """Writes what a path decided. `fail` is called at each numbered step and does nothing outside tests."""

    path: Path
    epochs: Epochs
    to: Destinations
    fail: Callable[[str], None]
    opened: dict[Partition, int] = field(default_factory=dict)
    """Epoch under which each partition was put on the path."""
    pending: Pending = field(default_factory=Pending)

    def commit(self, transactions: Transactions, token: GroupToken | None) -> list[Fired] | None:
        """Commit everything pending; return the events that are visible now, None where there was nothing to commit.

        Raises TransactionAborted or FencedError; then nothing of it is visible, or all of it, and the path must be
        left: only the positions that the next assignment reads say which.
        """
        self.fail("commit:1")
        self._leave_ended_epochs()
        if token is None:
            return None
        fired, dead = self.pending.fired, self.pending.dead
        self.fail("commit:2")
        snapshots = self.path.snapshot(self.opened)
        if not snapshots:
            return None
        self.fail("commit:3")
        transactions.begin()
        self.fail("commit:4")
        for one in fired:
            message = encode_event(one.event, self.to.source)
            transactions.send(self.to.events, _at(message, one.partition.number))
        for bad in dead:
            transactions.send(self.to.dead, encode_dead_letter(bad.record, bad.reason, bad.message))
        self.fail("commit:5")
        self._write_states(transactions, snapshots, skip=len(fired) + len(dead))
        self.fail("commit:6")
        positions = {
            partition: encode_position(self.path.lanes[partition].placed(snapshot.committed))
            for partition, snapshot in snapshots.items()
        }
        transactions.commit_positions(positions, self.to.group, token)
        self.fail("commit:7")
        transactions.commit()
        self.fail("commit:done")
        self.pending = Pending()
        return fired

    def open(self, partition: Partition, epoch: int, fired: list[Fired]) -> None:
        """A partition was put on the path under an epoch; what an older one left pending is decided again."""
        self.opened.pop(partition, None)
        self._keep_opened()
        self.opened[partition] = epoch
        self.pending.fired += fired

    def leave(self) -> None:
        """Take everything off the path and end its epochs; nothing pending counts."""
        self.epochs.end(self.opened)
        for partition in self.opened:
            self.path.close(partition)
        self.opened.clear()
        self.pending = Pending()

    def _leave_ended_epochs(self) -> None:
        """Step 1: what belongs to an epoch that has ended is somebody else's now, or will be decided again."""
        ended = {one for one, epoch in self.opened.items() if not self.epochs.is_current(one, epoch)}
        for partition in ended:
            self.path.close(partition)
            del self.opened[partition]
        self._keep_opened()

    def _keep_opened(self) -> None:
        self.pending.fired = [one for one in self.pending.fired if one.partition in self.opened]
        self.pending.dead = [one for one in self.pending.dead if one.record.source in self.opened]

    def _write_states(self, transactions: Transactions, snapshots: Mapping[Partition, Snapshot], skip: int) -> None:
        """Step 5: one record per changed camera, empty where it was removed.

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
            self.path.lanes[partition].state_offset = offset


def _at(message: Message, partition: int) -> Message:
    return Message(message.key, message.value, message.headers, partition)
