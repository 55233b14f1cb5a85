"""The poll thread's half of the worker: ownership, the assignment step, records handed over, back-pressure.

Only this half touches the consumer. One turn: poll, note what was gained and lost, restore what needs it, hand over the
rest, pause or resume; now and then say what only the end of a partition tells.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from pipeline.broker.contract import Broker, GroupConsumer, Polled, Producer
from pipeline.config import Settings
from pipeline.errors import ContractError, TransientError
from pipeline.metrics import WorkerMetrics
from pipeline.offsets import Epochs
from pipeline.records.frames import encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.worker.assignment import Restored, restore
from pipeline.worker.decoding import decode
from pipeline.worker.equipment import Equipment
from pipeline.worker.mailbox import Mailbox, Work

POLL_SECONDS = 0.25
BUSY_POLL_SECONDS = 0.02
"""While something is waiting for the next poll."""
PROBE_SECONDS = 5.0
RETRY_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Polling:
    """What the poll thread knows. Belongs to that thread; `connected` may be read from any."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        consumer: GroupConsumer,
        producer: Producer,
        *,
        equipment: Callable[[], Equipment],
        mailbox: Mailbox,
        epochs: Epochs,
        metrics: WorkerMetrics,
        monotonic: Callable[[], float],
        fail: Callable[[str], None],
    ) -> None:
        self._settings, self._broker, self._consumer, self._producer = settings, broker, consumer, producer
        self._equipment, self._mailbox, self._epochs = equipment, mailbox, epochs
        self._metrics, self._monotonic, self._fail = metrics, monotonic, fail
        self._frames = settings.topics.name("frames")
        self._current: dict[Partition, int] = {}
        self._need: set[Partition] = set()
        self._paused: frozenset[Partition] = frozenset()
        self._probed_at = monotonic()
        self._retry_at = monotonic()
        self.labels: dict[Partition, int] = {}
        """Version of the labels that each partition's epoch began with."""
        self.connected = False
        """False while the broker is away."""

    def turn(self, pool: ThreadPoolExecutor) -> None:
        """One turn. Raises FencedError, TransientError: then the broker is away, and the next turn tries again."""
        waiting = self._need or self._paused
        polled = self._consumer.poll(BUSY_POLL_SECONDS if waiting else POLL_SECONDS, self._settings.worker.poll_records)
        self._note(polled)
        # Handed over before anything else may fail: they do not come again. What was fetched of partitions that are
        # still to be restored is worthless; it comes again from R on.
        for partition, records in polled.records.items():
            if partition in self._current:
                epoch, prepare = self._current[partition], self._equipment().prepare
                work = [Work(epoch, pool.submit(decode, record, prepare)) for record in records]
                self._mailbox.add(partition, work)
        if self._need and self._monotonic() >= self._retry_at:
            self._assign_or_retry()
        self._throttle()
        self._say_lost()
        self._probe()

    def _assign_or_retry(self) -> None:
        """A state that cannot be read now must not hold up the partitions that are being worked on."""
        try:
            self._assign()
        except TransientError as error:
            self._retry_at = self._monotonic() + RETRY_SECONDS
            log.warning("partitions cannot be restored at the moment", reason=str(error), partitions=len(self._need))

    def _note(self, polled: Polled) -> None:
        """Ownership first, then the membership to commit with: see `commits`."""
        self._epochs.revoke(polled.revoked)
        self._mailbox.revoke(polled.revoked)
        again = set(self._current) if self._mailbox.take_reassign() else set()
        self._need = (self._need | again) - polled.revoked | polled.assigned
        for partition in self._need | polled.revoked:
            self._current.pop(partition, None)
        self._paused -= polled.revoked | polled.assigned
        self._mailbox.publish(polled.token)
        for partition, (due, found) in polled.skipped.items():
            self._hole(partition, found - due)

    def _assign(self) -> None:
        """The assignment step for every partition that needs it; those whose state did not come wait for the next."""
        worker, topics = self._settings.worker, self._settings.topics
        views = self._equipment().views
        views(views.known.newest.version)  # embedded before a partition starts with it
        with self._metrics.stage("restore"):
            restored = restore(
                self._broker,
                self._consumer,
                self._need,
                state_topic=topics.name("state"),
                labels=views.known.newest.version,
                start=worker.start,
                monotonic=self._monotonic,
                fail=self._fail,
            )
        for found in restored.values():
            self._begin(found)
        self._metrics.assigned(len(self._current))

    def _begin(self, found: Restored) -> None:
        """Go to R and start a new epoch."""
        partition, committed = found.partition, found.committed
        try:
            self._consumer.seek(partition, committed.rewind)
        except ContractError:  # lost a moment ago; the next poll will say so
            return
        self._fail("assign:4")
        self.labels[partition] = committed.labels
        epoch = self._epochs.assign([partition])[partition]
        self._current[partition] = epoch
        self._need.discard(partition)
        self._mailbox.assign(found, epoch)
        if found.hole:
            self._hole(partition, found.hole)
        log.info("partition assigned", partition=partition.number, position=committed.position, epoch=epoch)

    def _throttle(self) -> None:
        """Pause what is owned while enough is waiting; the poll goes on, so the group does not notice."""
        wanted = frozenset(self._current) if self._mailbox.full else frozenset()
        if wanted - self._paused:
            self._consumer.pause(wanted - self._paused)
        if self._paused - wanted:
            self._consumer.resume(self._paused - wanted)
        self._paused = wanted

    def _say_lost(self) -> None:
        """Append the end markers of silent cameras whose partition has been read to its end."""
        suspicions = {one: found for one, found in self._mailbox.take_suspicions().items() if one in self._current}
        if not suspicions:
            return
        for partition, (_, end) in self._consumer.bounds(suspicions, 2.0).items():
            found = suspicions[partition]
            for marker in found.markers if end <= found.position else ():
                log.warning("camera lost", camera=marker.camera, partition=partition.number)
                message = encode_stream_record(marker)
                self._producer.send(
                    self._frames, Message(message.key, message.value, message.headers, partition.number)
                )

    def _probe(self) -> None:
        """Ask the broker something now and then: a poll does not say that it is away."""
        now = self._monotonic()
        if self.connected and now - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = now
        self._consumer.bounds(list(self._current)[:1], 2.0)
        self.connected = True

    def _hole(self, partition: Partition, count: int) -> None:
        self._metrics.dropped("hole", count)
        log.error("records expired before they were processed", partition=partition.number, count=count)
