"""The poll thread's half of the worker: ownership, the assignment step, records handed over, back-pressure.

Only this half touches the consumer. One turn: poll, note what was gained and lost, restore what needs it, hand over the
rest, pause or resume; now and then say what only the end of a partition tells.

Where a partition may have no leader its log is asked about partition by partition: one without a leader never answers,
and asked together with others it holds back their answers too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.partition import Restored
from pipeline.broker.contract import Broker, GroupConsumer, Polled, Producer
from pipeline.config.settings import Settings
from pipeline.errors import ContractError, TransientError
from pipeline.metrics import WorkerMetrics
from pipeline.records.frames import EndMarker, encode_stream_record
from pipeline.records.wire import Message, Partition, Record
from pipeline.worker.assignment import RESTORE_SECONDS, Retries, restore
from pipeline.worker.decoding import Prepare, decode
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Mailbox, Work
from pipeline.worker.model import Equipment

_ONE_SECONDS = 0.5
"""What a partition by itself may take."""


def ends(
    consumer: GroupConsumer, partitions: Collection[Partition], seconds: float, monotonic: Callable[[], float]
) -> dict[Partition, int]:
    """End offset of each of these partitions that answers: of all at once, else one by one, in `seconds` each time."""
    with suppress(TransientError):
        return {one: end for one, (_, end) in consumer.bounds(partitions, seconds).items()}
    found: dict[Partition, int] = {}
    deadline = monotonic() + seconds
    for one in partitions if len(partitions) > 1 else ():
        if (left := deadline - monotonic()) <= 0:
            break
        with suppress(TransientError):
            found[one] = consumer.bounds([one], min(left, _ONE_SECONDS))[one][1]
    return found


def first_that_answers(consumer: GroupConsumer, partitions: Collection[Partition], seconds: float) -> Partition | None:
    """Ask them one by one, `seconds` in all; None: there are none. Raises TransientError where nobody answers."""
    failure: TransientError | None = None
    for one in partitions:
        try:
            consumer.bounds([one], seconds / len(partitions))
            return one
        except TransientError as error:
            failure = error
    if failure is not None:
        raise failure
    return None


POLL_SECONDS = 0.25
BUSY_POLL_SECONDS = 0.02
"""While something is waiting for the next poll."""
PROBE_SECONDS = 5.0
_ASKED = 3
"""Of how many partitions one must answer: all could be without a leader, and the broker there."""
RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
REPEATED_SECONDS = 2.0
"""What a repeated attempt to restore may take while other partitions are worked on; more after longer pauses."""

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
        self._read: dict[Partition, int] = {}
        """Offset up to which each current partition was handed over."""
        self._idle = True
        """Nothing was handed over since the broker was asked last."""
        self._need: set[Partition] = set()
        self._retries = Retries(RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._cut: dict[Partition, int] = {}
        """Where the log of a partition ended when it had lost its end."""
        self._paused: frozenset[Partition] = frozenset()
        self._suspects: dict[Partition, dict[EndMarker, int]] = {}
        """Where a partition ended when one of its cameras was suspected for the first time."""
        self._answers: Partition | None = None
        """The partition that the broker answered for last."""
        self._probed_at = monotonic()
        self.labels: dict[Partition, int] = {}
        """Version of the labels that each partition's epoch began with."""
        self.connected = False
        """False while the broker is away."""

    def turn(self, pool: ThreadPoolExecutor) -> None:
        """One turn. Raises FencedError, TransientError: then the broker is away, and the next turn tries again."""
        waiting = self._retries.due(self._need, self._monotonic()) or self._paused
        polled = self._consumer.poll(BUSY_POLL_SECONDS if waiting else POLL_SECONDS, self._settings.worker.poll_records)
        self._note(polled)
        # Handed over before anything else may fail: they do not come again. What was fetched of partitions that are
        # still to be restored is worthless; it comes again from R on.
        for partition, records in polled.records.items():
            if partition in self._current:
                epoch, prepare = self._current[partition], self._equipment().prepare
                work = [Work(epoch, pool.submit(self._decode, record, prepare)) for record in records]
                self._mailbox.add(partition, work)
                self._read[partition] = max(self._read[partition], records[-1].offset + 1)
                self._idle = False
        if due := self._retries.next(self._need, self._monotonic()):
            self._assign_or_retry(due)
        self._throttle()
        self._say_lost()
        self._probe()

    def _decode(self, record: Record, prepare: Prepare) -> Decoded:
        with self._metrics.stage("decode"):
            return decode(record, prepare)

    def _assign_or_retry(self, due: set[Partition]) -> None:
        """A state that cannot be read now must not hold up the partitions that are being worked on."""
        others, pause, began = bool(self._current) or self._need > due, self._retries.pause(due), self._monotonic()
        try:
            seconds = max(pause, REPEATED_SECONDS) if others and pause else RESTORE_SECONDS
            self._assign(due, min(seconds, RESTORE_SECONDS))
        except TransientError as error:
            now = self._monotonic()
            self._retries.failed(due & self._need, now, now - began if others else 0.0)
            log.warning("partitions cannot be restored at the moment", reason=str(error), partitions=len(due))

    def _note(self, polled: Polled) -> None:
        """Ownership first, then the membership to commit with: see `commits`."""
        again = set(self._current) if self._mailbox.take_reassign() else set()
        self._epochs.revoke(polled.revoked | again)  # no epoch outlives the next look at the committed position
        self._mailbox.revoke(polled.revoked)
        self._need = (self._need | again) - polled.revoked | polled.assigned
        self._retries.forget(polled.revoked | polled.assigned)
        for partition in polled.revoked:
            self._cut.pop(partition, None)
            self._suspects.pop(partition, None)
        for partition in self._need | polled.revoked:
            self._current.pop(partition, None)
        self._tell_owned()
        self._paused -= polled.revoked | polled.assigned
        self._mailbox.publish(polled.token)
        for partition, (due, found) in polled.skipped.items():
            self._read[partition] = found
            if found < due:
                self._lose_end(partition, due, found)
            else:
                self._hole(partition, found - due)
        for partition, (due, found) in polled.unreadable.items():
            self._read[partition] = found
            self._metrics.dropped("unreadable", found - due)
            log.error("records that cannot be decoded are passed over", partition=partition.number, offset=due)

    def _lose_end(self, partition: Partition, due: int, found: int) -> None:
        """The log lost records that were read; what is written in their place would pass for what was processed.

        So the partition must be restored. Not at once: a commit of its epoch may be under way, and what it commits must
        be what is restored. The inference thread requests it as soon as it is off the path.
        """
        log.error(
            "the log lost its end; the partition is restored where it ends now",
            partition=partition.number,
            read_to=due,
            end=found,
        )
        self._cut[partition] = min(found, self._cut.get(partition, found))
        if partition in self._current:
            self._epochs.revoke([partition])
            self._mailbox.request_leave()

    def _assign(self, due: set[Partition], seconds: float) -> None:
        """The assignment step for these; those whose state did not come in `seconds` wait for another."""
        worker, topics = self._settings.worker, self._settings.topics
        views = self._equipment().views
        views(views.known.newest.version)  # embedded before a partition starts with it
        with self._metrics.stage("restore"):
            restored = restore(
                self._broker,
                self._consumer,
                due,
                state_topic=topics.name("state"),
                labels=views.known.newest.version,
                start=worker.start,
                monotonic=self._monotonic,
                fail=self._fail,
                seconds=seconds,
                cut=self._cut,
            )
        self._retries.missing(due - restored.keys(), self._monotonic())
        for found in restored.values():
            self._begin(found)
        self._tell_owned()

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
        if not self._mailbox.assign(found, epoch):  # an abort or a swap while it was restored: once more
            self._epochs.revoke([partition])
            return
        self._current[partition] = epoch
        self._read[partition] = committed.position
        self._need.discard(partition)
        self._retries.restored(partition)
        self._cut.pop(partition, None)
        self._hole(partition, found.hole)
        if found.cut:
            log.error(
                "the log lost its end below the committed position; going on at its end",
                partition=partition.number,
                committed=committed.position + found.cut,
                end=committed.position,
                lost=found.cut,
            )
        log.info("partition assigned", partition=partition.number, position=committed.position, epoch=epoch)

    def _tell_owned(self) -> None:
        """Owned is not yet worked on: it may wait to be restored, or for a producer to commit with."""
        working = self._epochs.owned().keys()
        self._metrics.assigned(len(working), waiting=len((self._need | self._current.keys()) - working))

    def _throttle(self) -> None:
        """Pause what is owned while enough is waiting; the poll goes on, so the group does not notice."""
        wanted = frozenset(self._current) if self._mailbox.full else frozenset()
        if wanted - self._paused:
            self._consumer.pause(wanted - self._paused)
        if self._paused - wanted:
            self._consumer.resume(self._paused - wanted)
        self._paused = wanted

    def _say_lost(self) -> None:
        """Append the end markers of cameras that are still silent where everything was processed that was there when
        they were suspected first: others write on, so that a partition may never be read to its end."""
        suspicions = {one: found for one, found in self._mailbox.take_suspicions().items() if one in self._current}
        if not suspicions:
            return
        for partition, end in ends(self._consumer, suspicions, 2.0, self._monotonic).items():
            found, known = suspicions[partition], self._suspects.get(partition, {})
            suspects = self._suspects[partition] = {marker: known.get(marker, end) for marker in found.markers}
            for marker in found.markers:
                if found.position >= min(suspects[marker], end):
                    self._say(marker, partition)
                    suspects[marker] = end + 1  # not again before it can have been read back

    def _say(self, marker: EndMarker, partition: Partition) -> None:
        log.warning("camera lost", camera=marker.camera, partition=partition.number)
        message = encode_stream_record(marker)
        self._producer.send(self._frames, Message(message.key, message.value, message.headers, partition.number))

    def _probe(self) -> None:
        """Ask the broker something now and then: a poll does not say that it is away."""
        now = self._monotonic()
        if self.connected and now - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = now
        asked = sorted(self._current, key=lambda one: one != self._answers)[:_ASKED]
        self._answers = first_that_answers(self._consumer, asked, 2.0)
        self.connected = True
        idle, self._idle = self._idle, True
        if idle and self._mailbox.empty and self._at_the_end():
            self._metrics.lag(0.0)  # no frame will come that takes the age of the last one back

    def _at_the_end(self) -> bool:
        """True when everything that is owned was read to its end, or nothing is owned."""
        try:
            ends = self._consumer.bounds(self._current, 2.0)
        except TransientError:  # some partition has no leader at the moment: that is no reason to leave the others
            return False
        return not self._need and all(self._read[one] >= end for one, (_, end) in ends.items())

    def _hole(self, partition: Partition, count: int) -> None:
        if not count:
            return
        self._metrics.dropped("hole", count)
        log.error("records expired before they were processed", partition=partition.number, count=count)
