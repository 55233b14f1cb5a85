"""The inference thread of a worker: opens partitions, prepares batches, restores everything after a failure.

    this thread            take, encode and embed batch n+1 | batch n+2 ...            | alone: open, close, swap
    concluding thread      score, decide and commit batch n | batch n+1 ...            | at rest

Only this thread touches the engine and the streams. The concluding one (`inference/conclusion.py`) has the event
machines and the transactions. What concerns both happens here while that one rests. If a transaction fails, nothing of
it is visible: every partition is closed, its epoch ends, and the poll thread goes through the assignment step again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from pipeline.analysis.analyser import Analyser, Prepared
from pipeline.analysis.camera_streams import Decoded
from pipeline.analysis.partition import Restored
from pipeline.analysis.ticks import SECOND
from pipeline.errors import TransientError
from pipeline.records.wire import Partition
from pipeline.worker import fail_points
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, Work, WorkerContext
from pipeline.worker.inference.conclusion import Conclusion
from pipeline.worker.inference.kept_items import KeptItems
from pipeline.worker.inference.relay import Relay
from pipeline.worker.inference.sizes import sizes_of
from pipeline.worker.lost_cameras import LostCameras, Suspicion
from pipeline.worker.model import Equipment, SwapRequest
from pipeline.worker.overload import Pressure, left_out

LOST_CHECK_SECONDS = 5.0
"""How often lost cameras are looked for; at least four times within `lost_seconds`."""
DEPTH = 2
"""Batches that may be prepared while one is concluded and committed."""
BUSY_SECONDS = 0.02
"""How long at least to wait for work while the concluding thread is busy."""
WAIT_SECONDS = 0.5
"""How long a turn waits for the concluding thread; then it ends, as a sign of life."""

log = structlog.get_logger(__name__)


class InferenceThread:
    """The state of the inference thread. Belongs to it; any may read `equipment`, and `conclude` is the other's."""

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
        self.equipment = equipment
        self._swap = swap
        self._relieved: Equipment | None = None
        """Equipment of another overload level, taken at the next commit."""
        self._relay: Relay[Prepared] = Relay(DEPTH)
        self._conclusion = Conclusion(context, self._analyser(equipment), handover, epochs)
        self._committer = self._conclusion.committer
        self._failure: TransientError | None = None
        """Why everything must be restored."""
        self._lost_cameras = LostCameras(self._worker_settings.lost_seconds)
        self._pressure, self._shed = self._new_pressure(), 0.0
        self._shed_due = False
        """The cameras that are left out must be chosen anew."""
        self._checked_at = self._monotonic()
        self._freed_at = 0.0
        """The commit after which the series of cameras that are gone were freed."""

    def close(self) -> None:
        """Release the producer."""
        self._conclusion.close()

    def turn(self) -> None:
        """Take what waits and prepare it; alone, do what both threads must agree on. Raises FencedError."""
        try:
            self._turn()
        except TransientError as error:
            self._failure = error

    def conclude(self, seconds: float) -> None:
        """A turn of the concluding thread. Raises FencedError."""
        self._conclusion.turn(self._relay, seconds)

    @property
    def concluded(self) -> bool:
        """True once nothing more comes to the concluding thread."""
        return self._relay.stopped

    def abandon(self) -> None:
        """One of the threads ends and concludes or prepares nothing more; the other need not wait for it."""
        self._relay.stop()

    def finish(self, seconds: float) -> None:
        """Commit what is decided, once the concluding thread rests, for which it waits so long at most.

        Raises FencedError, TransientError.
        """
        if self._relay.rests(seconds) and not self._relay.failed and self._failure is None:
            self._conclusion.commit()
        self._relay.stop()

    def _turn(self) -> None:
        if self._needs_rest():
            if self._relay.rests(WAIT_SECONDS):
                with self._metrics.busy("inference"):
                    self._act_alone()
            return
        if not self._relay.has_room(WAIT_SECONDS):
            return
        deadline = self._conclusion.committed_at + self._worker_settings.commit_seconds
        if not self._relay.rests(0.0):  # the other thread commits when it is time
            deadline = max(deadline, self._monotonic() + BUSY_SECONDS)
        batch = self._handover.next(deadline)
        with self._metrics.busy("inference"):
            if batch:
                self._prepare(batch)
            if self._relay.rests(0.0) and self._conclusion.due:
                self._conclusion.commit()
            self._look_for_lost_cameras()
            self._keep_series()

    def _needs_rest(self) -> bool:
        """True while something is to be done that concerns both threads."""
        return (
            self._failure is not None
            or self._relay.failed
            or self._handover.needs_rest
            or self._swap.equipment is not None
            or self._relieved is not None
            or self._shed_due
            or self._committer.analyser.late_to_shed
            or bool(self._ended())
        )

    def _act_alone(self) -> None:
        """Do it; the concluding thread rests, and everything that was prepared is concluded."""
        failure = self._relay.take_failure() or self._failure
        if failure is not None:
            self._failure = None
            self._recover(failure)
            return
        if self._handover.take_leave():
            self._leave()
            self._request_reassign()
            return
        self._committer.close(self._ended())
        self._open_restored()
        self._shed_what_is_due()
        if self._swap.equipment is not None or self._relieved is not None:
            self._conclusion.commit()
            self._take_swap()

    def _ended(self) -> set[Partition]:
        """Opened partitions whose epoch has ended: another worker has them, or this one will open them again."""
        return {partition for partition, _ in self._committer.opened.items() - self._epochs.owned().items()}

    def _open_restored(self) -> None:
        arrived = self._handover.take_restored()
        for restored, epoch in arrived:
            self._open(restored, epoch)
        if any(restored.fresh for restored, _ in arrived):  # committed before the first record
            self._conclusion.commit()

    def _open(self, restored: Restored, epoch: int) -> None:
        if not self._epochs.is_current(restored.partition, epoch):
            return
        fired = self._committer.analyser.open(restored)
        self._committer.open(restored.partition, epoch, fired)
        self._lost_cameras.open(restored.partition, self._monotonic())
        self._pressure.restart(self._monotonic())

    def _prepare(self, batch: Mapping[Partition, list[Work]]) -> None:
        opened, current = self._committer.opened, self._epochs.is_current
        records = {
            partition: [one.decoded.result() for one in work if one.epoch == opened.get(partition)]
            for partition, work in batch.items()
            if current(partition, opened.get(partition, 0))
        }
        prepared = self._committer.analyser.prepare(records)
        outcome, now = prepared.outcome, self._monotonic()
        for partition, cameras in outcome.active.items():
            self._lost_cameras.processed(partition, cameras, now)
        self._conclusion.progress.batch(outcome, self._committer.analyser.tally)
        fail_points.reached("batch:prepared")
        self._relay.put(prepared)
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
        self._metrics.relief(level)
        log.warning("overload" if level > before else "less overload", level=level, left_out=relief)
        if relief.geometry != self._committer.analyser.geometry:
            self._relieved = replace(self.equipment, geometry=relief.geometry)
        self._shed, self._shed_due = relief.share, True

    def _shed_what_is_due(self) -> None:
        analyser, pending = self._committer.analyser, self._committer.pending
        pending.fired += analyser.shed(self._left_out()) if self._shed_due else analyser.shed_late()
        self._shed_due = False

    def _left_out(self) -> frozenset[str]:
        present = self._committer.analyser.present()
        return left_out({one: self._context.priorities.of(one) for one in present}, self._shed)

    def _recover(self, error: TransientError) -> None:
        """Close every partition, get a new producer, request a new assignment: in this order.

        Nothing of the transaction is visible, or all of it. Once the new producer is initialised, nothing of the old
        one can be late any more, so the positions that the assignment reads say which of the two it was.
        """
        log.warning("a transaction failed; restoring", reason=str(error))
        self._leave()
        self._conclusion.renew(self._turned)
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
            self._metrics.relief(0)
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
            batch=sizes_of(self._worker_settings).batch_frames,
            restarts=True,
            prepare=equipment.prepare,
            stage=self._metrics.stage,
        )

    def _look_for_lost_cameras(self) -> None:
        now = self._monotonic()
        if now - self._checked_at < min(LOST_CHECK_SECONDS, self._worker_settings.lost_seconds / 4):
            return
        self._checked_at = now
        self._handover.suspect(self._suspicions(now))
        self._shed_due |= self._shed > 0  # cameras come and go, and after a swap none is shed

    def _keep_series(self) -> None:
        """Once for each commit, free the series of cameras that are gone; those of a camera just met must stay."""
        if self._conclusion.committed_at == self._freed_at or not self._committer.opened:
            return  # after an abort nothing is open for a moment, and nobody is gone
        self._freed_at = self._conclusion.committed_at
        streams = (pair for one in self._committer.analyser.partitions.values() for pair in one.streams.streams())
        self._metrics.keep({camera for camera, stream in streams if not stream.ended})

    def _suspicions(self, now: float) -> dict[Partition, Suspicion]:
        found: dict[Partition, Suspicion] = {}
        for partition, analysis in self._committer.analyser.partitions.items():
            streams = analysis.streams
            if not streams.restored:  # during the warm-up nobody knows which cameras send nothing
                suspicion = self._lost_cameras.suspect(partition, streams.position, dict(streams.streams()), now)
                found |= {partition: suspicion} if suspicion else {}
        return found
