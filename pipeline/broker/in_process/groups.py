"""Consumer groups in one process: cooperative and sticky; members rebalance whenever they poll.

A partition that has to move is revoked at its owner's next poll and then assigned at the new owner's next poll, so two
members never hold it at once. A token is valid until its member polls after a rebalance (KIP-447).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial

from pipeline.broker.contract import GroupToken, Polled, Position
from pipeline.broker.in_process.log import Logs
from pipeline.errors import BrokerTimeout, ContractError
from pipeline.records.wire import Partition, Record


class Group:
    """Members of one group in the order in which they joined, and their shares. The caller holds the lock."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._partitions = tuple(partitions)
        self._members: list[InProcessConsumer] = []
        self.generation = 0

    def join(self, member: InProcessConsumer) -> None:
        """Add a member and distribute the partitions anew."""
        self._members.append(member)
        self.rebalance()

    def leave(self, member: InProcessConsumer) -> None:
        """Remove a member; its partitions are free at once."""
        if member in self._members:
            self._members.remove(member)
            self.rebalance()

    def has(self, member: object) -> bool:
        """True while this member belongs to the group."""
        return any(member is other for other in self._members)

    def free(self, partition: Partition) -> bool:
        """True when no member owns this partition."""
        return not any(partition in member.owned for member in self._members)

    def rebalance(self) -> None:
        """Give every member its share: partitions that it owned first, then free ones, lowest number first."""
        self.generation += 1
        left = list(self._partitions)
        shares = self._shares()
        for member, share in shares:
            kept = [partition for partition in left if partition in member.owned][:share]
            member.target = frozenset(kept)
            left = [partition for partition in left if partition not in member.target]
        for member, share in shares:
            more = share - len(member.target)
            member.target |= frozenset(left[:more])
            left = left[more:]

    def _shares(self) -> list[tuple[InProcessConsumer, int]]:
        """Shares differ by one at most. The larger ones go to the members that own more already."""
        if not self._members:
            return []
        whole, rest = divmod(len(self._partitions), len(self._members))
        order = sorted(range(len(self._members)), key=lambda index: (-len(self._members[index].owned), index))
        larger = set(order[:rest])
        return [(member, whole + (index in larger)) for index, member in enumerate(self._members)]


class InProcessConsumer:
    """Keeps `contract.GroupConsumer`. `owned`, `target` and `lost` belong to the group and its lock."""

    def __init__(self, logs: Logs, changed: threading.Condition, group: Group, name: str) -> None:
        self._logs = logs
        self._changed = changed
        self._group = group
        self._name = name
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._turn = 0
        self._closed = False
        self.generation = -1
        self.owned: frozenset[Partition] = frozenset()
        self.target: frozenset[Partition] = frozenset()
        self.lost: frozenset[Partition] = frozenset()
        with changed:
            group.join(self)
            changed.notify_all()

    def poll(self, seconds: float, max_records: int) -> Polled:
        """See the contract."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._check_open()
            while True:
                revoked, assigned = self._rebalance()
                records, skipped = self._fetch(max_records)
                if records or skipped or revoked or assigned:
                    break
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    break
            token = GroupToken((self, self.generation), partial(self._is_at, self.generation))
            return Polled(records, assigned, revoked, token, skipped)

    def committed(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, Position | None]:
        """See the contract."""
        asked = list(partitions)
        with self._changed:
            free = self._changed.wait_for(
                lambda: not any(self._logs.is_held(self._name, partition) for partition in asked), max(0.0, seconds)
            )
            if not free:
                raise BrokerTimeout(f"an open transaction holds back positions of group {self._name}; try again")
            return {partition: self._logs.position(self._name, partition) for partition in asked}

    def seek(self, partition: Partition, offset: int) -> None:
        """See the contract."""
        with self._changed:
            if partition not in self.owned | self.lost:
                raise ContractError(f"seek on {partition}, which this member does not own")
            if partition in self.owned:  # otherwise the next poll reports it as revoked
                self._positions[partition] = offset

    def bounds(self, partitions: Iterable[Partition], seconds: float) -> dict[Partition, tuple[int, int]]:
        """See the contract."""
        with self._changed:
            logs = {partition: self._logs.of(partition) for partition in partitions}
            return {partition: (log.first, log.stable_end()) for partition, log in logs.items()}

    def pause(self, partitions: Iterable[Partition]) -> None:
        """See the contract."""
        with self._changed:
            self._paused |= set(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """See the contract."""
        with self._changed:
            self._paused -= set(partitions)
            self._changed.notify_all()

    def close(self) -> None:
        """See the contract."""
        with self._changed:
            self._closed = True
            self.owned = frozenset()
            self._group.leave(self)
            self._changed.notify_all()

    def accepts(self, token: GroupToken) -> bool:
        """True when a commit with this token may go through. The caller holds the lock."""
        return token.opaque == (self, self.generation) and self._group.has(self)

    def _is_at(self, generation: int) -> bool:
        with self._changed:
            return self.generation == generation and self._group.has(self)

    def expire(self) -> None:
        """Time out the session: others get its partitions, and its next poll revokes them and joins again."""
        with self._changed:
            self.lost |= self.owned
            self.owned = frozenset()
            self._group.leave(self)
            self.generation = -1
            self._changed.notify_all()

    def lose(self, partitions: Iterable[Partition]) -> None:
        """Revoke partitions and assign them again before the next poll, which reports both. For tests."""
        with self._changed:
            taken = frozenset(partitions) & self.owned
            self.lost |= taken
            self.owned -= taken
            self._group.generation += 1
            self._changed.notify_all()

    def _rebalance(self) -> tuple[frozenset[Partition], frozenset[Partition]]:
        """Give up the partitions that moved away, take those that are free; (revoked, assigned)."""
        if not self._group.has(self):
            self._group.join(self)
        revoked = self.lost | (self.owned - self.target)
        self.lost = frozenset()
        self.owned &= self.target
        assigned = frozenset(partition for partition in self.target - self.owned if self._group.free(partition))
        self.owned |= assigned
        for partition in revoked | assigned:
            self._positions.pop(partition, None)
            self._paused.discard(partition)
        if revoked or assigned or self.generation < 0:
            self._changed.notify_all()
        self.generation = self._group.generation
        return revoked, assigned

    def _fetch(self, max_records: int) -> tuple[dict[Partition, Sequence[Record]], dict[Partition, tuple[int, int]]]:
        """Records of owned partitions, starting with another one each time so that none starves."""
        order = sorted(self.owned - self._paused)
        start = self._turn % len(order) if order else 0
        found: dict[Partition, Sequence[Record]] = {}
        skipped: dict[Partition, tuple[int, int]] = {}
        for partition in order[start:] + order[:start]:
            position, log = self._positions.get(partition), self._logs.of(partition)
            if position is None:
                continue  # not sought yet
            if position < log.first:
                skipped[partition] = (position, log.first)
                position = log.first
            records, self._positions[partition] = log.read(position, max_records)
            if records:
                found[partition] = records
                max_records -= len(records)
        if found:
            self._turn += 1  # not on empty polls, whose number depends on timing
        return found, skipped

    def _check_open(self) -> None:
        if self._closed:
            raise ContractError("poll on a consumer that was closed")
