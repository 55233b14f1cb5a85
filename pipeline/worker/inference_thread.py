"""The inference thread's half of the worker: lanes opened, batches led along the path, commits.

Only this half touches the engine, the path and the transactions. Whatever goes wrong with a transaction, nothing of it
is visible: every partition leaves the path, its epoch ends, and the poll thread goes through the assignment step again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from pipeline.analysis.analyser import Outcome, Path
from pipeline.analysis.camera_streams import Decoded, Tally
from pipeline.analysis.partition import Fired, Restored
from pipeline.analysis.ticks import SECOND
from pipeline.broker.contract import Broker, Transactions
from pipeline.config.settings import Settings
from pipeline.errors import FencedError, TransientError
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.commit import Commits, Destinations
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Mailbox, Work
from pipeline.worker.lost_cameras import Silence, Suspicion
from pipeline.worker.model import Equipment, Swap
from pipeline.worker.overload import Pressure, left_out

log = structlog.get_logger(__name__)


class Telling:
    """Turns running totals into what was added since the last batch."""

    def __init__(self, metrics: WorkerMetrics, now_ns: Callable[[], int]) -> None:
        self._metrics = metrics
        self._now_ns = now_ns
        self._dropped: Counter[str] = Counter()
        self._live = 0.0
        self._of: Tally | None = None

    def batch(self, outcome: Outcome, tally: Tally) -> None:
        """A batch was processed; `tally` is the running total of its path."""
        if tally is not self._of:  # another path began to count at zero
            self._of, self._dropped, self._live = tally, Counter(), 0.0
        self._metrics.batch(outcome.frames, outcome.windows)
        self._metrics.covered(tally.live_seconds - self._live, outcome.seconds)
        if outcome.captured_ns:
            self._metrics.lag(_lag(outcome.captured_ns, self._now_ns()))
        for reason, count in (tally.dropped - self._dropped).items():
            self._metrics.dropped(reason, count)
        self._dropped, self._live = Counter(tally.dropped), tally.live_seconds

    def committed(self, fired: Sequence[Fired], dead: int) -> None:
        """These events and so many dead letters are visible now."""
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


TRANSACTION_SECONDS = 10.0
MEMBERSHIP_SECONDS = 5.0
"""How long a commit waits for a rebalance to end; one that takes longer may cost an aborted transaction."""
SILENCE_SECONDS = 5.0
"""How often silent cameras are looked for, at least four times in the time that makes them lost."""

log = structlog.get_logger(__name__)


class Inference:
    """What the inference thread knows. Belongs to that thread; `equipment` may be read from any."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        *,
        slot: str,
        equipment: Equipment,
        swap: Swap,
        mailbox: Mailbox,
        epochs: Epochs,
        metrics: WorkerMetrics,
        monotonic: Callable[[], float],
        now_ns: Callable[[], int],
        fail: Callable[[str], None],
        turned: Callable[[], None],
    ) -> None:
        """Begin with a working transactional producer. Raises TransientError, ConfigurationError.

        turned: called while a turn takes long for a reason that is known.
        """
        worker, topics = settings.worker, settings.topics
        self._settings, self._broker, self._mailbox, self._epochs = settings, broker, mailbox, epochs
        self._metrics, self._monotonic, self._now_ns, self._turned = metrics, monotonic, now_ns, turned
        self._transactional_id = f"{topics.namespace}.{worker.group}.{slot}"
        self._transactions = self._begin_transactions()
        self.equipment = equipment
        self._swap = swap
        self._relieved: Equipment | None = None
        to = Destinations(
            topics.name("events"), topics.name("state"), topics.name("dead"), worker.group, settings.source
        )
        self._commits = Commits(self._path(equipment), epochs, to, fail)
        self._silence = Silence(worker.lost_seconds)
        self._telling = Telling(metrics, now_ns)
        self._pressure, self._shed = self._unpressed(), 0.0
        self._committed_at = self._looked_at = monotonic()

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
        if self._mailbox.take_leave():
            self._commits.leave()
            self._assign_again()
        arrived = self._mailbox.next(self._committed_at + self._settings.worker.commit_seconds)
        if isinstance(arrived, list):
            for restored, epoch in arrived:
                self._open(restored, epoch)
            if any(restored.fresh for restored, _ in arrived):  # committed before the first record
                self.commit()
        elif arrived:
            self._advance(arrived)
        now = self._monotonic()
        if self._commits.pending.urgent or now - self._committed_at >= self._settings.worker.commit_seconds:
            self.commit()
            self._take_swap()
        if now - self._looked_at >= min(SILENCE_SECONDS, self._settings.worker.lost_seconds / 4):
            self._looked_at = now
            self._mailbox.suspect(self._silent(now))
            if self._shed:  # cameras come and go, and a swap began with all of them
                self._commits.pending.fired += self._commits.path.shed(self._left_out())

    def _open(self, restored: Restored, epoch: int) -> None:
        if not self._epochs.is_current(restored.partition, epoch):
            return
        fired = self._commits.path.open(restored)
        self._commits.open(restored.partition, epoch, fired)
        self._silence.open(restored.partition, self._monotonic())
        self._pressure.restart(self._monotonic())

    def _advance(self, batch: Mapping[Partition, list[Work]]) -> None:
        opened, current = self._commits.opened, self._epochs.is_current
        records = {
            partition: [one.decoded.result() for one in work if one.epoch == opened.get(partition)]
            for partition, work in batch.items()
            if current(partition, opened.get(partition, 0))
        }
        outcome = self._commits.path.advance(records)
        self._commits.pending.add(outcome)
        now = self._monotonic()
        for partition, cameras in outcome.heard.items():
            self._silence.hear(partition, cameras, now)
        self._telling.batch(outcome, self._commits.path.tally)
        self._relieve(now, records)

    def _relieve(self, now: float, records: Mapping[Partition, list[Decoded]]) -> None:
        """Leave out more, or less again, by how old the records are that there is time for only now."""
        oldest = min((one.appended_ms for some in records.values() for one in some), default=0)
        before = self._pressure.level
        age = self._now_ns() / SECOND - oldest / 1000
        level = self._pressure.observe(now, age, idle=self._mailbox.empty) if oldest else before
        if level == before:
            return
        relief = self.equipment.steps[level]
        log.warning("overload" if level > before else "less overload", level=level, left_out=relief)
        if relief.geometry != self._commits.path.geometry:
            self._relieved = replace(self.equipment, geometry=relief.geometry)
        self._shed = relief.share
        self._commits.pending.fired += self._commits.path.shed(self._left_out())

    def _left_out(self) -> frozenset[str]:
        streams = [found for lane in self._commits.path.lanes.values() for found in lane.streams.streams()]
        cameras = {camera for camera, stream in streams if not stream.ended}
        known = self._settings.cameras
        return left_out({one: known[one].priority if one in known else 0 for one in cameras}, self._shed)

    def commit(self) -> None:
        """Commit what is decided. Raises FencedError, TransientError."""
        self._committed_at = self._monotonic()
        with self._metrics.stage("commit"):
            dead = len(self._commits.pending.dead)
            fired = self._commits.commit(self._transactions, self._mailbox.membership(MEMBERSHIP_SECONDS))
        if fired is not None:
            self._metrics.transaction("committed")
            self._telling.committed(fired, dead)

    def _recover(self, error: TransientError) -> None:
        """Nothing of the transaction is visible: leave the path, get a fresh producer, be assigned again.

        The old producer is never used again, even where it could abort: kafka-python 3.0.12 keeps the positions of a
        transaction whose `send_offsets` failed, and commits them with the next one, whose events are others.
        """
        log.warning("a transaction failed; restoring", reason=str(error))
        self._metrics.transaction("aborted")
        self._commits.leave()
        self._renew_transactions()
        self._assign_again()

    def _assign_again(self) -> None:
        """Have everything restored, once it left the path; what was restored meanwhile and waits to be opened too."""
        self._epochs.end(self._mailbox.request_reassign())

    def _renew_transactions(self) -> None:
        self._transactions.close()
        while not self._mailbox.stopped:
            try:
                self._transactions = self._begin_transactions()
                return
            except TransientError as error:
                log.warning("no transactions at the moment", reason=str(error))
                self._turned()
                time.sleep(0.5)

    def _begin_transactions(self) -> Transactions:
        return self._broker.transactions(self._transactional_id, TRANSACTION_SECONDS)

    def _take_swap(self) -> None:
        """A swap is an assignment: the rings are dropped, and every partition rewinds under the new engine."""
        asked = self._swap.asked
        equipment = asked or self._relieved
        if equipment is None:
            return
        self.equipment, self._relieved = equipment, None
        self._commits.leave()
        self._commits.path = self._path(equipment)
        self._assign_again()
        if asked is not None:
            self._pressure, self._shed = self._unpressed(), 0.0
            info = equipment.engine.info
            log.info("engine swapped", name=info.name, version=info.version, bundle=info.bundle)
            self._swap.asked = None  # last of all: whoever asked may close the old engine now

    def _unpressed(self) -> Pressure:
        return Pressure(len(self.equipment.steps) - 1 if self._settings.worker.overload == "shed" else 0)

    def _path(self, equipment: Equipment) -> Path:
        worker = self._settings.worker
        return Path(
            equipment.engine,
            equipment.geometry,
            equipment.views,
            rewind_seconds=worker.rewind_seconds,
            batch=worker.batch_frames,
            stage=self._metrics.stage,
        )

    def _silent(self, now: float) -> dict[Partition, Suspicion]:
        found: dict[Partition, Suspicion] = {}
        for partition, lane in self._commits.path.lanes.items():
            streams = lane.streams
            if not streams.restored:  # while warming up nobody knows who is silent
                suspicion = self._silence.suspect(partition, streams.position, dict(streams.streams()), now)
                found |= {partition: suspicion} if suspicion else {}
        return found
