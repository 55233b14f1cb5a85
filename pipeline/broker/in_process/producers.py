"""Producers and readers of the in-process broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from pipeline.broker.contract import Delivered, GroupToken, Position
from pipeline.broker.in_process.log import Logs, Outcome, Transaction
from pipeline.broker.partitioning import check_size
from pipeline.errors import ConfigurationError, ContractError, TransactionAborted
from pipeline.records.wire import Message, Partition, Record


class InProcessProducer:
    """Keeps `contract.Producer`. A message is delivered before `send` returns."""

    def __init__(self, logs: Logs, changed: threading.Condition, max_message_bytes: int) -> None:
        self._logs = logs
        self._changed = changed
        self._limit = max_message_bytes
        self._closed = False

    def send(self, topic: str, message: Message, delivered: Delivered | None = None) -> None:
        """See the contract."""
        if self._closed:
            raise ContractError("send on a producer that was closed")
        check_size(message, topic, self._limit)
        try:
            with self._changed:
                partition, offset = self._logs.append(topic, message, None)
                self._changed.notify_all()
        except ConfigurationError as error:
            if delivered is not None:
                delivered(None, -1, error)
            return
        if delivered is not None:
            delivered(partition, offset, None)

    def flush(self, seconds: float) -> None:
        """See the contract."""

    def close(self, seconds: float = 2.0) -> None:
        """See the contract."""
        self._closed = True


class InProcessTransactions:
    """Keeps `contract.Transactions`."""

    def __init__(
        self,
        logs: Logs,
        changed: threading.Condition,
        max_message_bytes: int,
        accepts: Callable[[str, GroupToken], bool],
    ) -> None:
        self._logs = logs
        self._changed = changed
        self._limit = max_message_bytes
        self._accepts = accepts
        self._transaction: Transaction | None = None
        self._sent: list[tuple[Partition, int]] = []
        self._closed = False

    def begin(self) -> None:
        """See the contract."""
        if self._closed:
            raise ContractError("begin on a transactional producer that was closed")
        if self._transaction is not None:
            raise ContractError("begin inside a transaction; commit or abort it first")
        self._transaction = Transaction()
        self._sent = []

    def send(self, topic: str, message: Message) -> None:
        """See the contract."""
        check_size(message, topic, self._limit)
        with self._changed:
            transaction = self._open("send")
            try:
                self._sent.append(self._logs.append(topic, message, transaction))
            except ConfigurationError as error:
                raise TransactionAborted(str(error)) from error

    def offsets(self, seconds: float) -> list[tuple[Partition, int]]:
        """See the contract."""
        with self._changed:
            self._open("offsets")
            return list(self._sent)

    def commit_positions(self, positions: Mapping[Partition, Position], group: str, token: GroupToken) -> None:
        """See the contract."""
        for position in positions.values():
            if len(position.metadata.encode()) > 4096:
                raise ContractError("metadata of a position is longer than 4096 bytes")
        with self._changed:
            transaction = self._open("commit_positions")
            if not self._accepts(group, token):
                raise TransactionAborted(f"the membership of group {group} that this commit was made with is over")
            for partition, position in positions.items():
                self._logs.hold(group, partition, position, transaction)

    def commit(self) -> None:
        """See the contract."""
        self._end("commit", Outcome.COMMITTED)

    def abort(self) -> None:
        """See the contract."""
        with self._changed:
            if self._transaction is not None and self._transaction.outcome is Outcome.ABORTED:
                self._transaction = None
                return
        self._end("abort", Outcome.ABORTED)

    def close(self) -> None:
        """See the contract."""
        self.abort_open()
        self._closed = True

    def abort_open(self) -> None:
        """Abort an open transaction. Its owner learns of it at the next call, as after a time-out."""
        with self._changed:
            if self._transaction is not None and self._transaction.outcome is Outcome.OPEN:
                self._logs.decide(self._transaction, Outcome.ABORTED)
                self._changed.notify_all()

    def _open(self, call: str) -> Transaction:
        if self._transaction is None:
            raise ContractError(f"{call} outside a transaction; call begin first")
        if self._transaction.outcome is not Outcome.OPEN:
            raise TransactionAborted("the transaction was broken off; abort it, restore and go on")
        return self._transaction

    def _end(self, call: str, outcome: Outcome) -> None:
        with self._changed:
            self._logs.decide(self._open(call), outcome)
            self._transaction = None
            self._changed.notify_all()


class InProcessReader:
    """Keeps `contract.Reader`."""

    def __init__(self, logs: Logs, changed: threading.Condition, partitions: Sequence[Partition]) -> None:
        self._logs = logs
        self._changed = changed
        with changed:
            self._positions = {partition: logs.of(partition).first for partition in partitions}

    def read(self, seconds: float, max_records: int = 500) -> list[Record]:
        """See the contract."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found: list[Record] = []
                for partition, position in self._positions.items():
                    log = self._logs.of(partition)
                    start = max(position, log.first)
                    records, self._positions[partition] = log.read(start, max_records - len(found))
                    found += records
                if found or time.monotonic() >= deadline:
                    return found
                self._changed.wait(max(0.0, deadline - time.monotonic()))

    def positions(self) -> dict[Partition, int]:
        """See the contract."""
        with self._changed:
            return dict(self._positions)

    def seek(self, partition: Partition, offset: int) -> None:
        """See the contract."""
        if partition not in self._positions:
            raise ContractError(f"seek on {partition}, which this reader does not read")
        with self._changed:
            self._positions[partition] = offset

    def bounds(self, seconds: float) -> dict[Partition, tuple[int, int]]:
        """See the contract."""
        with self._changed:
            logs = {partition: self._logs.of(partition) for partition in self._positions}
            return {partition: (log.first, log.stable_end()) for partition, log in logs.items()}

    def close(self) -> None:
        """See the contract."""
