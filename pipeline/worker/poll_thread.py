"""The poll thread of a worker: ownership, the assignment step, handing over records, back-pressure.

Only this thread touches the consumer. One turn: poll, note what was gained and lost, restore what needs it, hand over
the records, pause or resume. Now and then it looks for the ends of partitions: to mark lost cameras, and to see whether
the broker is there.

A partition without a leader never answers a request for its bounds, and delays the answers of all partitions in the
same request. So wherever a partition may have no leader, they are tried one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import structlog

from pipeline.analysis.camera_streams import Decoded, Frame
from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import Committed, Pictures
from pipeline.broker.contract import GroupConsumer, Polled, Producer
from pipeline.broker.partitioning import ranges
from pipeline.errors import ContractError, TransientError
from pipeline.records.frames import EndMarker, encode_stream_record
from pipeline.records.wire import Message, Partition, Record
from pipeline.worker import fail_points
from pipeline.worker.assignment import RESTORE_SECONDS, Retries, restore
from pipeline.worker.decoding import Prepare, decode, decode_again
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, Work, WorkerContext
from pipeline.worker.inference.kept_items import KeptItems
from pipeline.worker.model import Equipment

POLL_SECONDS = 0.25
BUSY_POLL_SECONDS = 0.02
"""While something waits for the next poll."""
EMBED_SECONDS = 0.1
"""How long a turn waits for labels that are being embedded; then it polls again first."""
PROBE_SECONDS = 5.0
BOUNDS_SECONDS = 2.0
"""How long a request for the bounds of partitions may take."""
_ONE_SECONDS = 0.5
"""The same for a single partition."""
_PROBED = 3
"""How many partitions a probe tries: one may have no leader although the broker is there."""
RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
REPEATED_SECONDS = 2.0
"""How long a repeated attempt to restore may take while other partitions are worked on; longer after longer pauses."""

log = structlog.get_logger(__name__)


class PollThread:
    """The state of the poll thread. Belongs to that thread; `connected` and `labels` may be read from any."""

    def __init__(
        self,
        context: WorkerContext,
        consumer: GroupConsumer,
        producer: Producer,
        *,
        equipment: Callable[[], Equipment],
        handover: Handover,
        epochs: Epochs,
        kept: KeptItems,
    ) -> None:
        self._context, self._consumer, self._producer = context, consumer, producer
        self._equipment, self._handover, self._epochs, self._kept = equipment, handover, epochs, kept
        self._metrics, self._monotonic = context.metrics, context.monotonic
        self._frames = context.settings.topics.name("frames")
        self._current: dict[Partition, int] = {}
        """Epoch of each partition whose records are handed over."""
        self._read: dict[Partition, int] = {}
        """Offset up to which each current partition was handed over."""
        self._begun: dict[Partition, tuple[int, Pictures | None]] = {}
        """P with which each current epoch began, and which pictures below it are needed; None: all."""
        self._idle = True
        """No record was handed over since the last probe."""
        self._need: set[Partition] = set()
        """Owned partitions that are still to be restored."""
        self._retries = Retries(RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._cut: dict[Partition, int] = {}
        """End of each log that lost its end, until the partition is restored."""
        self._paused: frozenset[Partition] = frozenset()
        self._suspects: dict[Partition, dict[EndMarker, int]] = {}
        """End of the partition when each of its cameras was first suspected."""
        self._answers: Partition | None = None
        """The partition that answered the last probe."""
        self._probed_at = self._monotonic()
        self.labels: dict[Partition, int] = {}
        """Label version with which the epoch of each partition began."""
        self.connected = False
        """False while the broker is away."""

    def turn(self, pool: ThreadPoolExecutor) -> None:
        """Do one turn. Raises FencedError, TransientError: the broker is away, and the next turn tries again."""
        waiting = self._retries.due(self._need, self._monotonic()) or self._paused
        most = self._context.settings.worker.poll_records
        polled = self._consumer.poll(BUSY_POLL_SECONDS if waiting else POLL_SECONDS, most)
        with self._metrics.busy("poll"):
            self._take(polled, pool)

    def _take(self, polled: Polled, pool: ThreadPoolExecutor) -> None:
        self._note(polled)
        # Before anything else may fail: these records are not polled again. Records of a partition that is still to be
        # restored are dropped; they are read again from R on.
        readable = {one: records for one, records in polled.records.items() if one in self._current}
        if readable:
            self._handover.add({one: self._submitted(pool, one, records) for one, records in readable.items()})
            self._idle = False
        for partition, records in readable.items():
            self._read[partition] = max(self._read[partition], records[-1].offset + 1)
        if due := self._retries.next(self._need, self._monotonic()):
            self._assign_or_retry(due)
        self._throttle()
        self._mark_lost()
        self._probe()

    def _submitted(self, pool: ThreadPoolExecutor, partition: Partition, records: Sequence[Record]) -> list[Work]:
        """Have records decoded; items of some that were analysed before may be kept."""
        epoch, kept = self._current[partition], self._kept.of(partition)
        position, pictures = self._begun[partition]
        prepare, again = self._equipment().prepare, partial(decode_again, pictures=pictures)
        if kept and records[-1].offset >= max(kept):
            self._kept.drop(partition)
        return [
            Work(epoch, pool.submit(self._decode, again if one.offset < position else decode, one, prepare, kept))
            for one in records
        ]

    def _decode(
        self, how: Callable[..., Decoded], record: Record, prepare: Prepare, kept: Mapping[int, Frame]
    ) -> Decoded:
        with self._metrics.stage("decode"), self._metrics.busy("decode"):
            return how(record, prepare, kept=kept.get(record.offset))

    def _assign_or_retry(self, due: set[Partition]) -> None:
        """Restore these. A state that cannot be read must not delay the partitions that are being worked on."""
        others, pause, began = bool(self._current) or self._need > due, self._retries.pause(due), self._monotonic()
        try:
            seconds = max(pause, REPEATED_SECONDS) if others and pause else RESTORE_SECONDS
            self._assign(due, min(seconds, RESTORE_SECONDS))
        except TransientError as error:
            now = self._monotonic()
            self._retries.failed(due & self._need, now, now - began if others else 0.0)
            log.warning("partitions cannot be restored at the moment", reason=str(error), partitions=len(due))

    def _note(self, polled: Polled) -> None:
        """Apply a poll: ownership first, then the membership to commit with. `commit` says why in this order."""
        again = set(self._current) if self._handover.take_reassign() else set()
        self._epochs.revoke(polled.revoked | again)  # no epoch outlasts the next look at the committed position
        self._handover.revoke(polled.revoked)
        self._need = (self._need | again) - polled.revoked | polled.assigned
        self._retries.forget(polled.revoked | polled.assigned)
        for partition in polled.revoked:
            self._kept.drop(partition)
            self._cut.pop(partition, None)
            self._suspects.pop(partition, None)
        for partition in self._need | polled.revoked:
            self._current.pop(partition, None)
        self._report_owned()
        self._paused -= polled.revoked | polled.assigned
        self._handover.publish(polled.token)
        for partition, (due, found) in polled.skipped.items():
            self._read[partition] = found
            if found < due:
                self._lose_end(partition, due, found)
            else:
                self._report_hole(partition, found - due)
        for partition, (count, found) in polled.undecodable.items():
            if partition in self._current:  # else they come again, from R on
                self._metrics.dropped("undecodable", count)
                self._read[partition] = max(self._read[partition], found)

    def _lose_end(self, partition: Partition, due: int, found: int) -> None:
        """Have a partition restored whose log lost records that were already read.

        Without that, new records at the lost offsets would pass for processed ones. The restore must wait: a commit of
        the epoch may be under way, and its position is the one to restore. So the inference thread requests the new
        assignment, once it has closed the partition.
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
            self._handover.request_leave()

    def _assign(self, due: set[Partition], seconds: float) -> None:
        """The assignment step for these. Partitions whose state does not come within `seconds` are tried again."""
        label_views = self._equipment().label_views
        version = label_views.history.newest.version
        if not label_views.prepare(version, EMBED_SECONDS):  # embedded before a partition starts with it
            return
        with self._metrics.stage("restore"):
            restored = restore(
                self._context,
                self._consumer,
                due,
                labels=version,
                seconds=seconds,
                cut=self._cut,
            )
        self._retries.missing(due - restored.keys(), self._monotonic())
        begun = [found.partition.number for found in restored.values() if self._begin(found)]
        if begun:
            log.info("partitions assigned", count=len(begun), partitions=ranges(begun), owned=len(self._current))
        self._report_owned()

    def _begin(self, found: Restored) -> bool:
        """Seek to R and start a new epoch; False where the partition was lost meanwhile, or must be restored again."""
        partition, committed = found.partition, found.committed
        try:
            self._consumer.seek(partition, committed.rewind)
        except ContractError:  # lost a moment ago; the next poll reports it
            return False
        fail_points.reached("assign:4")
        self.labels[partition] = committed.labels
        epoch = self._epochs.assign([partition])[partition]
        if not self._handover.assign(found, epoch):  # an abort or a swap happened meanwhile: restore it once more
            self._epochs.revoke([partition])
            return False
        self._current[partition] = epoch
        self._begun[partition] = committed.position, self._needed(committed)
        self._read[partition] = committed.position
        self._need.discard(partition)
        self._retries.restored(partition)
        self._cut.pop(partition, None)
        self._report_hole(partition, found.hole)
        if found.cut:
            log.error(
                "the log lost its end below the committed position; going on at its end",
                partition=partition.number,
                committed=committed.position + found.cut,
                end=committed.position,
                lost=found.cut,
            )
        log.debug("partition begun", partition=partition.number, position=committed.position, epoch=epoch)
        return True

    def _needed(self, committed: Committed) -> Pictures | None:
        """Which pictures below P are needed. Longer windows, after a swap or under overload, reach back further."""
        pictures, windows = committed.pictures, self._equipment().geometry
        same = pictures and (pictures.frames, pictures.rate, pictures.spread, pictures.history) == (
            windows.frames,
            windows.rate,
            windows.spread,
            windows.history,
        )
        return pictures if same else None

    def _report_owned(self) -> None:
        """Report worked-on and waiting partitions. An owned one may wait for its restore, or for a producer."""
        working = self._epochs.owned().keys()
        self._metrics.assigned(len(working), waiting=len((self._need | self._current.keys()) - working))

    def _throttle(self) -> None:
        """Pause all partitions while enough work waits. Polling goes on, so the group keeps this member."""
        wanted = frozenset(self._current) if self._handover.full else frozenset()
        if wanted - self._paused:
            self._consumer.pause(wanted - self._paused)
        if self._paused - wanted:
            self._consumer.resume(self._paused - wanted)
        self._paused = wanted

    def _mark_lost(self) -> None:
        """Append end markers for lost cameras.

        A camera is lost if it is still suspected once everything was processed that its partition held at the first
        suspicion. The current end would be too strict: other cameras keep writing, and the end may never be reached.
        """
        suspicions = {one: found for one, found in self._handover.take_suspicions().items() if one in self._current}
        if not suspicions:
            return
        for partition, end in ends(self._consumer, suspicions, BOUNDS_SECONDS, self._monotonic).items():
            found, known = suspicions[partition], self._suspects.get(partition, {})
            suspects = self._suspects[partition] = {marker: known.get(marker, end) for marker in found.markers}
            for marker in found.markers:
                if found.position >= min(suspects[marker], end):
                    self._append(marker, partition)
                    suspects[marker] = end + 1  # not again before this marker can have been read back

    def _append(self, marker: EndMarker, partition: Partition) -> None:
        log.warning("camera lost", camera=marker.camera, partition=partition.number)
        message = encode_stream_record(marker)
        self._producer.send(self._frames, Message(message.key, message.value, message.headers, partition.number))

    def _probe(self) -> None:
        """Check now and then that the broker is there: a poll does not fail when it is away."""
        now = self._monotonic()
        if self.connected and now - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = now
        probed = sorted(self._current, key=lambda one: one != self._answers)[:_PROBED]
        self._answers = first_that_answers(self._consumer, probed, BOUNDS_SECONDS)
        self.connected = True
        idle, self._idle = self._idle, True
        if idle and self._handover.empty and self._at_the_end():
            self._metrics.lag(0.0)  # the lag of the last frame would stay, since no further frame updates it

    def _at_the_end(self) -> bool:
        """True if every owned partition was read to its end, or none is owned."""
        try:
            bounds = self._consumer.bounds(self._current, BOUNDS_SECONDS)
        except TransientError:  # one partition without a leader is no reason to call the broker away
            return False
        return not self._need and all(self._read[one] >= end for one, (_, end) in bounds.items())

    def _report_hole(self, partition: Partition, count: int) -> None:
        if not count:
            return
        self._metrics.dropped("hole", count)
        log.error("records expired before they were processed", partition=partition.number, count=count)


def ends(
    consumer: GroupConsumer, partitions: Collection[Partition], seconds: float, monotonic: Callable[[], float]
) -> dict[Partition, int]:
    """End offsets of the partitions that answer.

    First one request for all; if it fails, one for each partition. Each of the two rounds takes at most `seconds`.
    """
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
    """The first partition that answers a request for its bounds; None: there are no partitions.

    Tries one after the other, `seconds` in all. Raises TransientError if no partition answers.
    """
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
