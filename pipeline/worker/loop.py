"""The worker: the one file that knows the whole order (DESIGN section 5).

    poll thread       poll -> ownership -> assignment step -> hand over (decode threads) -> pause or resume
                        |  mailbox: assignments, work with its epoch        ^  reassign, suspicions
    inference thread    `-> open lanes -> encode, embed, score, decide (path) -> commit

Only the poll thread touches the consumer, only the inference thread the engine, the path and the transactions. Whatever
goes wrong with a transaction, nothing of it is visible: every partition leaves the path, its epoch ends, and the poll
thread goes through the assignment step again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import structlog

from engines.contract import Engine
from pipeline.broker.contract import Broker, GroupConsumer, Polled, Transactions
from pipeline.config import Settings
from pipeline.errors import ContractError, FencedError, TransientError
from pipeline.metrics import WorkerMetrics
from pipeline.offsets import Epochs
from pipeline.records.frames import encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.worker.assignment import Restored, restore
from pipeline.worker.commits import Commits, Destinations
from pipeline.worker.decoding import Decoded, Prepare, decode
from pipeline.worker.labelling import Views
from pipeline.worker.mailbox import Mailbox, Work
from pipeline.worker.overload import Pressure, Relief, left_out
from pipeline.worker.path import Path
from pipeline.worker.silence import Silence, Suspicion
from pipeline.worker.streams import Geometry
from pipeline.worker.telling import Telling

POLL_SECONDS = 0.25
BUSY_POLL_SECONDS = 0.02
"""While something is waiting for the next poll."""
TRANSACTION_SECONDS = 10.0
SILENCE_SECONDS = 5.0
"""How often silent cameras are looked for."""
STALLED_SECONDS = 60.0
"""A loop that did not turn for this long is dead."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Equipment:
    """What depends on the bundle, and changes all at once in a swap."""

    engine: Engine
    geometry: Geometry
    prepare: Prepare
    views: Views
    steps: tuple[Relief, ...] = ()
    """What may be left out under overload, least first; the first leaves out nothing."""


def no_failure(step: str) -> None:
    """The fail points of production: nothing happens."""


class Worker:
    """One consumer, one engine. `run` belongs to the thread that polls; everything else may be called from any."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        equipment: Equipment,
        metrics: WorkerMetrics,
        *,
        slot: str,
        monotonic: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
        fail: Callable[[str], None] = no_failure,
    ) -> None:
        self._settings, self._broker, self._metrics = settings, broker, metrics
        self._monotonic, self._now_ns, self._fail = monotonic, now_ns, fail
        worker, topics = settings.worker, settings.topics
        self._frames = topics.name("frames")
        self._transactional_id = f"{topics.namespace}.{worker.group}.{slot}"
        self._epochs = Epochs()
        limit = max(worker.queue_batches * worker.batch_frames, 1)
        self._mailbox = Mailbox(worker.batch_frames, worker.batch_milliseconds / 1000, limit, monotonic)
        self._equipment = equipment
        self._swap: Equipment | None = None
        self._shed = 0.0
        to = Destinations(
            topics.name("events"), topics.name("state"), topics.name("dead"), worker.group, settings.source
        )
        self._commits = Commits(self._path(equipment), self._epochs, to, self._fail)
        self._silence = Silence(worker.lost_seconds)
        self._suspicions: dict[Partition, Suspicion] = {}
        self._telling = Telling(metrics, now_ns)
        self._pressure = Pressure(len(equipment.steps) - 1 if worker.overload == "shed" else 0)
        self._committed_at = self._looked_at = monotonic()
        self._turned = {"poll": monotonic(), "inference": monotonic()}
        self._failure: BaseException | None = None
        self._connected = False
        # The poll thread's own.
        self._current: dict[Partition, int] = {}
        self._need: set[Partition] = set()
        self._paused: frozenset[Partition] = frozenset()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; then commit what is decided and leave the group.

        Raises FencedError, AuthenticationError, ConfigurationError, and TransientError while nothing was reached yet.
        """
        worker = self._settings.worker
        with ExitStack() as stack:
            # The producer first: it aborts what a predecessor left open, before positions are read.
            self._transactions = self._begin_transactions()
            stack.callback(lambda: self._transactions.close())
            producer = self._broker.producer()
            stack.callback(producer.close)
            consumer = self._broker.group_consumer(self._frames, worker.group, worker.session_seconds)
            stack.callback(consumer.close)
            pool = stack.enter_context(ThreadPoolExecutor(worker.decode_threads, "decode"))
            inference = threading.Thread(target=self._infer, name="inference", daemon=True)
            inference.start()
            try:
                while not stop.is_set() and self._failure is None:
                    self._turned["poll"] = self._monotonic()
                    try:
                        self._turn(consumer, pool)
                        self._say_lost(consumer, producer.send)
                        self._connected = True
                    except TransientError as error:
                        self._connected = False
                        log.warning("the broker is away", reason=str(error))
                        stop.wait(0.5)
            finally:
                self._mailbox.stop()
                inference.join()
        if self._failure is not None:
            raise self._failure

    def owned(self) -> Mapping[Partition, int]:
        """The partitions that are being worked on, and their epochs."""
        return self._epochs.owned()

    def swap(self, equipment: Equipment) -> None:
        """Take another bundle at the next commit; open events go on under their ids."""
        self._swap = equipment

    def live(self) -> str | None:
        """None while both loops turn, else which one does not."""
        late = [name for name, at in self._turned.items() if self._monotonic() - at > STALLED_SECONDS]
        return f"the {late[0]} loop has not turned for {STALLED_SECONDS:g} s" if late else None

    def ready(self) -> str | None:
        """None while partitions are being worked on, else what is missing."""
        if not self._connected:
            return "the broker is away"
        return None if self._epochs.owned() else "no partitions are assigned"

    # --- the poll thread ---

    def _turn(self, consumer: GroupConsumer, pool: ThreadPoolExecutor) -> None:
        waiting = self._need or self._paused
        polled = consumer.poll(BUSY_POLL_SECONDS if waiting else POLL_SECONDS, self._settings.worker.poll_records)
        self._note(polled)
        restored = self._assign(consumer) if self._need else frozenset()
        for partition, records in polled.records.items():
            # What was fetched before the seek is worthless: it comes again from R on.
            if partition in self._current and partition not in restored:
                epoch, prepare = self._current[partition], self._equipment.prepare
                work = (Work(epoch, pool.submit(decode, record, prepare)) for record in records)
                self._mailbox.add(partition, work)
        self._throttle(consumer)

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

    def _assign(self, consumer: GroupConsumer) -> frozenset[Partition]:
        """The assignment step for every partition that needs it; those that could not be restored wait for the next."""
        worker, topics = self._settings.worker, self._settings.topics
        views = self._equipment.views
        views(views.newest.version)  # embedded before a partition starts with it
        with self._metrics.stage("restore"):
            restored = restore(
                self._broker,
                consumer,
                self._need,
                state_topic=topics.name("state"),
                labels=views.newest.version,
                start=worker.start,
                monotonic=self._monotonic,
                fail=self._fail,
            )
        for partition, found in restored.items():
            consumer.seek(partition, found.committed.rewind)
            self._fail("assign:4")
            epoch = self._epochs.assign([partition])[partition]
            self._current[partition] = epoch
            self._need.discard(partition)
            self._mailbox.assign(found, epoch)
            if found.hole:
                self._hole(partition, found.hole)
            log.info("partition assigned", partition=partition.number, position=found.committed.position, epoch=epoch)
        self._metrics.assigned(len(self._current))
        return frozenset(restored)

    def _throttle(self, consumer: GroupConsumer) -> None:
        """Pause what is owned while enough is waiting; the poll goes on, so the group does not notice."""
        wanted = frozenset(self._current) if self._mailbox.full else frozenset()
        if wanted - self._paused:
            consumer.pause(wanted - self._paused)
        if self._paused - wanted:
            consumer.resume(self._paused - wanted)
        self._paused = wanted

    def _say_lost(self, consumer: GroupConsumer, send: Callable[[str, Message], None]) -> None:
        """Append the end markers of silent cameras whose partition has been read to its end."""
        suspicions, self._suspicions = self._suspicions, {}
        suspicions = {one: found for one, found in suspicions.items() if one in self._current}
        if not suspicions:
            return
        for partition, (_, end) in consumer.bounds(suspicions, 2.0).items():
            found = suspicions[partition]
            for marker in found.markers if end <= found.position else ():
                log.warning("camera lost", camera=marker.camera, partition=partition.number)
                message = encode_stream_record(marker)
                send(self._frames, Message(message.key, message.value, message.headers, partition.number))

    def _hole(self, partition: Partition, count: int) -> None:
        self._metrics.dropped("hole", count)
        log.error("records expired before they were processed", partition=partition.number, count=count)

    # --- the inference thread ---

    def _infer(self) -> None:
        try:
            while not self._mailbox.stopped:
                self._turned["inference"] = self._monotonic()
                try:
                    self._infer_once()
                except FencedError:
                    self._metrics.transaction("fenced")
                    raise
                except TransientError as error:
                    self._recover(error)
            self._commit()
        except BaseException as error:  # raised again by the poll thread, which ends the process
            self._failure = error

    def _infer_once(self) -> None:
        arrived = self._mailbox.next(self._committed_at + self._settings.worker.commit_seconds)
        if isinstance(arrived, list):
            for restored, epoch in arrived:
                self._open(restored, epoch)
            if any(restored.fresh for restored, _ in arrived):  # committed before the first record
                self._commit()
        elif arrived:
            self._advance(arrived)
        now = self._monotonic()
        if self._commits.pending.urgent or now - self._committed_at >= self._settings.worker.commit_seconds:
            self._commit()
            self._take_swap()
        if now - self._looked_at >= SILENCE_SECONDS:
            self._looked_at = now
            self._suspicions = self._silent(now)
            if self._shed:  # cameras come and go, and a swap began with all of them
                self._commits.pending.fired += self._commits.path.shed(self._left_out())

    def _open(self, restored: Restored, epoch: int) -> None:
        if not self._epochs.is_current(restored.partition, epoch):
            return
        fired = self._commits.path.open(restored)
        self._commits.open(restored.partition, epoch, fired)
        self._silence.open(restored.partition, self._monotonic())

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
        level = self._pressure.observe(now, self._now_ns() / 1e9 - oldest / 1000) if oldest else before
        if level == before:
            return
        relief = self._equipment.steps[level]
        log.warning("overload" if level > before else "less overload", level=level, left_out=relief)
        if relief.geometry != self._commits.path.geometry:
            self._swap = replace(self._equipment, geometry=relief.geometry)
        self._shed = relief.share
        self._commits.pending.fired += self._commits.path.shed(self._left_out())

    def _left_out(self) -> frozenset[str]:
        cameras = {camera for lane in self._commits.path.lanes.values() for camera, _ in lane.streams.streams()}
        known = self._settings.cameras
        return left_out({one: known[one].priority if one in known else 0 for one in cameras}, self._shed)

    def _commit(self) -> None:
        self._committed_at = self._monotonic()
        with self._metrics.stage("commit"):
            dead = len(self._commits.pending.dead)
            fired = self._commits.commit(self._transactions, self._mailbox.token)
        if fired is not None:
            self._metrics.transaction("committed")
            self._telling.committed(fired, dead)

    def _recover(self, error: TransientError) -> None:
        """Nothing of the transaction is visible: leave the path, get a working producer, be assigned again."""
        log.warning("a transaction failed; restoring", reason=str(error))
        self._metrics.transaction("aborted")
        self._epochs.revoke(self._commits.opened)
        self._commits.leave()
        try:
            self._transactions.abort()
        except (TransientError, ContractError):
            self._renew_transactions()
        self._mailbox.request_reassign()

    def _renew_transactions(self) -> None:
        self._transactions.close()
        while not self._mailbox.stopped:
            try:
                self._transactions = self._begin_transactions()
                return
            except TransientError as error:
                log.warning("no transactions at the moment", reason=str(error))
                self._turned["inference"] = self._monotonic()
                time.sleep(0.5)

    def _begin_transactions(self) -> Transactions:
        return self._broker.transactions(self._transactional_id, TRANSACTION_SECONDS)

    def _take_swap(self) -> None:
        """A swap is an assignment: the rings are dropped, and every partition rewinds under the new engine."""
        if self._swap is None:
            return
        self._equipment, self._swap = self._swap, None
        self._epochs.revoke(self._commits.opened)
        self._commits.leave()
        self._commits.path = self._path(self._equipment)
        self._mailbox.request_reassign()
        log.info("engine swapped", bundle=self._equipment.engine.info.name)

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
