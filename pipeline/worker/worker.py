"""The worker: the one file that knows the whole order (ARCHITECTURE 5).

    poll thread       poll -> ownership -> assignment step -> hand over (decode threads) -> pause or resume
                        |  mailbox: assignments, work with its epoch     ^  assign again, silent cameras
    inference thread    `-> open lanes -> encode, embed, score, decide -> commit

Starting: the transactional producer first, which aborts what a predecessor left open; then the consumer, so that
positions are read afterwards; then the inference thread. Stopping: no more polls, a last commit, then the group is
left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import structlog

from pipeline.broker.contract import Broker
from pipeline.config.settings import Settings
from pipeline.errors import TransientError
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Mailbox
from pipeline.worker.inference_thread import Inference
from pipeline.worker.model import Equipment, Swap
from pipeline.worker.poll_thread import Polling

STALLED_SECONDS = 60.0
"""A loop that did not turn for this long is dead."""
AWAY_SECONDS = 0.5
"""Pause between polls while the broker is away."""

log = structlog.get_logger(__name__)


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
        self._settings, self._broker, self._equipment, self._metrics = settings, broker, equipment, metrics
        self._slot, self._monotonic, self._now_ns, self._fail = slot, monotonic, now_ns, fail
        worker = settings.worker
        limit = max(worker.queue_batches * worker.batch_frames, 1)
        self._mailbox = Mailbox(worker.batch_frames, worker.batch_milliseconds / 1000, limit, monotonic)
        self._epochs = Epochs()
        self._turned = {"poll": monotonic(), "inference": monotonic()}
        self._failure: BaseException | None = None
        self._polling: Polling | None = None
        self._swap = Swap()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; then commit what is decided and leave the group.

        Raises FencedError, AuthenticationError, ConfigurationError, and TransientError while nothing was reached yet.
        """
        with ExitStack() as stack:
            inference = self._start_inference()
            stack.callback(inference.close)
            producer = self._broker.producer()
            stack.callback(producer.close)
            worker = self._settings.worker
            consumer = self._broker.group_consumer(
                self._settings.topics.name("frames"), worker.group, worker.session_seconds, self._slot
            )
            stack.callback(consumer.close)
            self._polling = polling = Polling(
                self._settings,
                self._broker,
                consumer,
                producer,
                equipment=lambda: inference.equipment,
                mailbox=self._mailbox,
                epochs=self._epochs,
                metrics=self._metrics,
                monotonic=self._monotonic,
                fail=self._fail,
            )
            pool = stack.enter_context(ThreadPoolExecutor(worker.decode_threads, "decode"))
            thread = threading.Thread(target=self._infer, args=(inference,), name="inference", daemon=True)
            thread.start()
            try:
                self._poll(polling, pool, stop)
            finally:
                self._mailbox.stop()
                thread.join()
        if self._failure is not None:
            raise self._failure

    def owned(self) -> Mapping[Partition, int]:
        """The partitions that are being worked on, and their epochs."""
        return self._epochs.owned()

    def labelled(self) -> Mapping[Partition, tuple[int, int]]:
        """The partitions that are being worked on: epoch, and version of the labels that it began with."""
        began = dict(self._polling.labels) if self._polling is not None else {}
        return {one: (epoch, began[one]) for one, epoch in self._epochs.owned().items() if one in began}

    def swap(self, equipment: Equipment) -> None:
        """Take another bundle at the next commit; open events go on under their ids."""
        self._swap.asked = equipment

    @property
    def swapping(self) -> bool:
        """True until a swap that was asked for has begun."""
        return self._swap.asked is not None

    def end_with(self, error: BaseException) -> None:
        """Have `run` end and raise this: something that belongs to the worker cannot go on."""
        self._failure = self._failure or error

    def live(self) -> str | None:
        """None while both loops turn, else which one does not."""
        late = [name for name, at in self._turned.items() if self._monotonic() - at > STALLED_SECONDS]
        return f"the {late[0]} loop has not turned for {STALLED_SECONDS:g} s" if late else None

    def ready(self) -> str | None:
        """None while partitions are being worked on, else what is missing."""
        if self._polling is None or not self._polling.connected:
            return "the broker is away"
        return None if self._epochs.owned() else "no partitions are assigned"

    def _start_inference(self) -> Inference:
        return Inference(
            self._settings,
            self._broker,
            slot=self._slot,
            equipment=self._equipment,
            swap=self._swap,
            mailbox=self._mailbox,
            epochs=self._epochs,
            metrics=self._metrics,
            monotonic=self._monotonic,
            now_ns=self._now_ns,
            fail=self._fail,
            turned=lambda: self._turn("inference"),
        )

    def _poll(self, polling: Polling, pool: ThreadPoolExecutor, stop: threading.Event) -> None:
        while not stop.is_set() and self._failure is None:
            self._turn("poll")
            try:
                polling.turn(pool)
            except TransientError as error:
                polling.connected = False
                log.warning("the broker is away", reason=str(error))
                stop.wait(AWAY_SECONDS)

    def _infer(self, inference: Inference) -> None:
        try:
            while not self._mailbox.stopped:
                self._turn("inference")
                inference.turn()
            inference.commit()
        except BaseException as error:  # raised again by the poll thread, which ends the process
            self.end_with(error)

    def _turn(self, which: str) -> None:
        self._turned[which] = self._monotonic()
