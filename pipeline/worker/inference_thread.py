"""The inference thread of a worker: opens partitions, analyses batches, commits.

Only this thread touches the engine, the analyser and the transactions. If a transaction fails, nothing of it is
visible: every partition is closed, its epoch ends, and the poll thread goes through the assignment step again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from pipeline.analysis.analyser import Analyser, Outcome
from pipeline.analysis.camera_streams import Decoded, Tally
from pipeline.analysis.partition import Fired, Restored
from pipeline.analysis.ticks import SECOND
from pipeline.broker.contract import Transactions
from pipeline.errors import FencedError, TransientError
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.commit import Committer, Destinations
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, Work, WorkerContext
from pipeline.worker.inference.kept_items import KeptItems
from pipeline.worker.lost_cameras import LostCameras, Suspicion
from pipeline.worker.model import Equipment, SwapRequest
from pipeline.worker.overload import Pressure, left_out

TRANSACTION_SECONDS = 10.0
MEMBERSHIP_SECONDS = 5.0
"""How long a commit waits for a rebalance to end. A longer rebalance may cost an aborted transaction."""
LOST_CHECK_SECONDS = 5.0
"""How often lost cameras are looked for; at least four times within `lost_seconds`."""

log = structlog.get_logger(__name__)


class Progress:
    """Reports batches and commits to the metrics, as differences of running totals."""

    def __init__(self, metrics: WorkerMetrics, now_ns: Callable[[], int]) -> None:
        self._metrics = metrics
        self._now_ns = now_ns
        self._dropped: Counter[str] = Counter()
        self._live = 0.0
        self._of: Tally | None = None

    def batch(self, outcome: Outcome, tally: Tally) -> None:
        """Report a processed batch. tally: the running totals of its analyser."""
        if tally is not self._of:  # another analyser, which counts from zero
            self._of, self._dropped, self._live = tally, Counter(), 0.0
        self._metrics.batch(outcome.frames, outcome.scored)
        self._metrics.covered(tally.live_seconds - self._live, outcome.seconds)
        if outcome.captured_ns:
            self._metrics.lag(_lag(outcome.captured_ns, self._now_ns()))
        for reason, count in (tally.dropped - self._dropped).items():
            self._metrics.dropped(reason, count)
        self._dropped, self._live = Counter(tally.dropped), tally.live_seconds

    def committed(self, fired: Sequence[Fired], dead: int) -> None:
        """Report the events that are visible now, and the number of dead letters."""
        now = self._now_ns()
        for one in fired:
            event = one.event
            latency = None if one.capture_ns is None else (now - one.capture_ns) / SECOND
            self._metrics.event(event.phase, event.camera, latency)
            log.info("event", phase=event.phase, camera=event.camera, label=event.label, id=event.id)
        for _ in range(dead):
            self._metrics.dead_letter()
            self._metrics.dropped("bad_record")


def _lag(captured_ns: Sequence[tuple[Partition, int]], now_ns: int) -> float:
    """Age in seconds of the newest frame of the partition that is furthest behind.

    A camera whose clock runs ahead must not hide that the others of its partition are late: its frames count only where
    there are no others, and then as new.
    """
    newest: dict[Partition, int] = {}
    for partition, at in captured_ns:
        newest[partition] = max(newest.get(partition, at if at <= now_ns else 0), at if at <= now_ns else 0)
    return max((now_ns - at) / SECOND if at else 0.0 for at in newest.values())


class InferenceThread:
    """The state of the inference thread. Belongs to that thread; `equipment` may be read from any."""

    def __init__(
        self,
        context: WorkerContext,
        equipment: Equipment,
        swap: SwapRequest,
        handover: Handover,
        epochs: Epochs,
        kept: KeptItems,
        turned: Callable[[], None],
    ) -> None:
        """Begin with a working transactional producer. Raises TransientError, ConfigurationError.

        turned: called during a turn that takes long for a known reason, as a sign of life.
        """
        self._context, self._worker_settings = context, context.settings.worker
        self._metrics, self._monotonic = context.metrics, context.monotonic
        self._handover, self._epochs, self._kept, self._turned = handover, epochs, kept, turned
        settings, topics, worker = context.settings, context.settings.topics, context.settings.worker
        self._transactional_id = f"{topics.namespace}.{worker.group}.{context.slot}"
        self._transactions = self._begin_transactions()
        self.equipment = equipment
        self._swap = swap
        self._relieved: Equipment | None = None
        """Equipment of another overload level, taken at the next commit."""
        to = Destinations(
            topics.name("events"), topics.name("state"), topics.name("dead"), worker.group, settings.source
        )
        self._committer = Committer(self._analyser(equipment), epochs, to)
        self._lost_cameras = LostCameras(worker.lost_seconds)
        self._progress = Progress(context.metrics, context.now_ns)
        self._pressure, self._shed = self._new_pressure(), 0.0
        self._committed_at = self._checked_at = self._monotonic()

    def close(self) -> None:
        """Release the producer."""
        self._transactions.close()

    def turn(self) -> None:
        """Take what waits, and commit when it is time. Raises FencedError."""
        try:
            self._turn()
        except FencedError:
            self._metrics.transaction("fenced")
            raise
        except TransientError as error:
            self._recover(error)

    def _turn(self) -> None:
        worker = self._worker_settings
        if self._handover.take_leave():
            self._leave()
            self._request_reassign()
        arrived = self._handover.next(self._committed_at + worker.commit_seconds)
        if isinstance(arrived, list):
            for restored, epoch in arrived:
                self._open(restored, epoch)
            if any(restored.fresh for restored, _ in arrived):  # committed before the first record
                self.commit()
        elif arrived:
            self._advance(arrived)
        now = self._monotonic()
        if self._committer.pending.urgent or now - self._committed_at >= worker.commit_seconds:
            self.commit()
            self._take_swap()
        if now - self._checked_at >= min(LOST_CHECK_SECONDS, worker.lost_seconds / 4):
            self._checked_at = now
            self._handover.suspect(self._suspicions(now))
            if self._shed:  # cameras come and go, and after a swap none is shed
                self._committer.pending.fired += self._committer.analyser.shed(self._left_out())

    def _open(self, restored: Restored, epoch: int) -> None:
        if not self._epochs.is_current(restored.partition, epoch):
            return
        fired = self._committer.analyser.open(restored)
        self._committer.open(restored.partition, epoch, fired)
        self._lost_cameras.open(restored.partition, self._monotonic())
        self._pressure.restart(self._monotonic())

    def _advance(self, batch: Mapping[Partition, list[Work]]) -> None:
        opened, current = self._committer.opened, self._epochs.is_current
        records = {
            partition: [one.decoded.result() for one in work if one.epoch == opened.get(partition)]
            for partition, work in batch.items()
            if current(partition, opened.get(partition, 0))
        }
        outcome = self._committer.analyser.advance(records)
        self._committer.pending.add(outcome)
        now = self._monotonic()
        for partition, cameras in outcome.active.items():
            self._lost_cameras.processed(partition, cameras, now)
        self._progress.batch(outcome, self._committer.analyser.tally)
        self._adapt(now, records)

    def _adapt(self, now: float, records: Mapping[Partition, list[Decoded]]) -> None:
        """Shed more load, or less, by the age of the oldest record of the batch."""
        oldest = min((one.appended_ms for some in records.values() for one in some), default=0)
        before = self._pressure.level
        age = self._context.now_ns() / SECOND - oldest / 1000
        level = self._pressure.observe(now, age, idle=self._handover.empty) if oldest else before
        if level == before:
            return
        relief = self.equipment.steps[level]
        log.warning("overload" if level > before else "less overload", level=level, left_out=relief)
        if relief.geometry != self._committer.analyser.geometry:
            self._relieved = replace(self.equipment, geometry=relief.geometry)
        self._shed = relief.share
        self._committer.pending.fired += self._committer.analyser.shed(self._left_out())

    def _left_out(self) -> frozenset[str]:
        return left_out({one: self._context.priorities.of(one) for one in self._present()}, self._shed)

    def _present(self) -> set[str]:
        """Cameras whose session goes on."""
        partitions = self._committer.analyser.partitions.values()
        return {camera for one in partitions for camera, stream in one.streams.streams() if not stream.ended}

    def commit(self) -> None:
        """Commit what is decided. Raises FencedError, TransientError."""
        self._committed_at = self._monotonic()
        with self._metrics.stage("commit"):
            dead = len(self._committer.pending.dead)
            fired = self._committer.commit(self._transactions, self._handover.membership(MEMBERSHIP_SECONDS))
        if fired is not None:
            self._metrics.transaction("committed")
            self._progress.committed(fired, dead)
            self._metrics.keep(self._present())

    def _recover(self, error: TransientError) -> None:
        """Close every partition, get a new producer, request a new assignment: in this order.

        Nothing of the transaction is visible, or all of it. Once the new producer is initialised, nothing of the old
        one can be late any more, so the positions that the assignment reads say which of the two it was.

        The old producer is never used again, even if it could abort. kafka-python 3.0.12 keeps the positions of a
        transaction whose `send_offsets` failed and commits them with the next transaction, beside other events.
        """
        log.warning("a transaction failed; restoring", reason=str(error))
        self._metrics.transaction("aborted")
        self._leave()
        self._renew_transactions()
        self._request_reassign()

    def _leave(self) -> None:
        """Close every partition. Its frames are read again, but those that are encoded keep their items."""
        for partition, epoch in self._committer.opened.items():
            if self._epochs.is_current(partition, epoch):
                self._kept.keep(self.equipment.origin, partition, self._committer.analyser.encoded(partition))
        self._committer.leave()

    def _request_reassign(self) -> None:
        """Have every partition restored, once all are closed. Epochs that wait to be opened end as well."""
        self._epochs.end(self._handover.request_reassign())

    def _renew_transactions(self) -> None:
        self._transactions.close()
        while not self._handover.stopped:
            try:
                self._transactions = self._begin_transactions()
                return
            except TransientError as error:
                log.warning("no transactions at the moment", reason=str(error))
                self._turned()
                time.sleep(0.5)

    def _begin_transactions(self) -> Transactions:
        return self._context.broker.transactions(self._transactional_id, TRANSACTION_SECONDS)

    def _take_swap(self) -> None:
        """A swap is an assignment: the rings are dropped, and every partition rewinds under the new engine."""
        requested = self._swap.equipment
        equipment = requested or self._relieved
        if equipment is None:
            return
        self._leave()
        self.equipment, self._relieved = equipment, None
        self._kept.only_of(equipment.origin)
        self._committer.analyser = self._analyser(equipment)
        self._request_reassign()
        if requested is not None:
            self._pressure, self._shed = self._new_pressure(), 0.0
            info = equipment.engine.info
            log.info("engine swapped", name=info.name, version=info.version, bundle=info.bundle)
            self._swap.equipment = None  # last of all: from now on the old engine may be closed

    def _new_pressure(self) -> Pressure:
        return Pressure(len(self.equipment.steps) - 1 if self._worker_settings.overload == "shed" else 0)

    def _analyser(self, equipment: Equipment) -> Analyser:
        return Analyser(
            equipment.engine,
            equipment.geometry,
            equipment.label_views,
            rewind_seconds=self._worker_settings.rewind_seconds,
            batch=self._worker_settings.batch_frames,
            restarts=True,
            stage=self._metrics.stage,
        )

    def _suspicions(self, now: float) -> dict[Partition, Suspicion]:
        found: dict[Partition, Suspicion] = {}
        for partition, analysis in self._committer.analyser.partitions.items():
            streams = analysis.streams
            if not streams.restored:  # during the warm-up nobody knows which cameras send nothing
                suspicion = self._lost_cameras.suspect(partition, streams.position, dict(streams.streams()), now)
                found |= {partition: suspicion} if suspicion else {}
        return found
