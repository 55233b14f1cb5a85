"""The worker: the one module that knows the whole order (ARCHITECTURE 5).

    poll thread       poll -> ownership -> assignment step -> hand over (decode threads) -> pause or resume
                        |  assignments, work with its epoch              ^  requests for a new assignment, lost cameras
    inference thread    `-> open partitions -> take, encode, embed
    concluding thread                                     `-> score, decide -> commit

Start: first the transactional producer, which aborts what a predecessor left open; then the consumer, so that positions
are read afterwards; then the inference thread. Stop: no more polls, a last commit, then leave the group.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import structlog

from pipeline.errors import TransientError
from pipeline.records.wire import Partition
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, WorkerContext
from pipeline.worker.inference.kept_items import KeptItems
from pipeline.worker.inference.sizes import sizes_of
from pipeline.worker.inference_thread import InferenceThread
from pipeline.worker.model import Equipment, SwapRequest
from pipeline.worker.poll_thread import PollThread

STALLED_SECONDS = 60.0
"""A loop that did not turn for this long is dead."""
FINISH_SECONDS = 20.0
"""How long the last commit waits for the one that is under way."""
CONCLUDE_SECONDS = 0.5
"""How long the concluding thread waits for work; then it turns, as a sign of life."""
AWAY_SECONDS = 0.5
"""Pause between polls while the broker is away."""

log = structlog.get_logger(__name__)


class Worker:
    """One consumer, one engine. `run` belongs to the thread that polls; everything else may be called from any."""

    def __init__(self, context: WorkerContext, equipment: Equipment) -> None:
        self._context, self._equipment, self._monotonic = context, equipment, context.monotonic
        worker = context.settings.worker
        self._sizes = sizes_of(worker)
        self._handover = Handover(
            self._sizes.batch_frames, worker.batch_milliseconds / 1000, self._sizes.waiting_frames, self._monotonic
        )
        self._epochs = Epochs()
        self._kept = KeptItems()
        self._turned = dict.fromkeys(("poll", "inference", "concluding"), self._monotonic())
        self._failure: BaseException | None = None
        self._poll_thread: PollThread | None = None
        self._swap = SwapRequest()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; then commit what is decided and leave the group.

        Raises FencedError, AuthenticationError, ConfigurationError, and TransientError while nothing was reached yet.
        """
        settings, broker = self._context.settings, self._context.broker
        with ExitStack() as stack:
            inference = InferenceThread(
                self._context,
                self._equipment,
                self._swap,
                self._handover,
                self._epochs,
                self._kept,
                turned=lambda: self._note_turn("inference"),
            )
            stack.callback(inference.close)
            producer = broker.producer()
            stack.callback(producer.close)
            worker = settings.worker
            consumer = broker.group_consumer(
                settings.topics.name("frames"), worker.group, worker.session_seconds, self._context.slot
            )
            stack.callback(consumer.close)
            self._poll_thread = poll_thread = PollThread(
                self._context,
                consumer,
                producer,
                equipment=lambda: inference.equipment,
                handover=self._handover,
                epochs=self._epochs,
                kept=self._kept,
            )
            pool = stack.enter_context(ThreadPoolExecutor(self._sizes.decode_threads, "decode"))
            bodies = {"inference": self._infer, "concluding": self._conclude}
            threads = [threading.Thread(target=one, args=(inference,), name=name) for name, one in bodies.items()]
            for thread in threads:
                thread.daemon = True
                thread.start()
            try:
                self._poll(poll_thread, pool, stop)
            finally:
                self._context.embedding.stop()
                self._handover.stop()
                for thread in threads:
                    thread.join()
        if self._failure is not None:
            raise self._failure

    def owned(self) -> Mapping[Partition, int]:
        """The partitions that are being worked on, and their epochs."""
        return self._epochs.owned()

    def labelled(self) -> Mapping[Partition, tuple[int, int]]:
        """The partitions that are being worked on: epoch, and label version with which the epoch began."""
        began = dict(self._poll_thread.labels) if self._poll_thread is not None else {}
        return {one: (epoch, began[one]) for one, epoch in self._epochs.owned().items() if one in began}

    def swap(self, equipment: Equipment) -> None:
        """Take another bundle at the next commit; open events go on under their ids."""
        self._swap.equipment = equipment

    @property
    def swapping(self) -> bool:
        """True until a requested swap has taken place."""
        return self._swap.equipment is not None

    def end_with(self, error: BaseException) -> None:
        """Have `run` end and raise this: a part of the worker cannot go on."""
        self._failure = self._failure or error

    def live(self) -> str | None:
        """None while both loops turn, else the one that does not. Labels that are being embedded count as turning."""
        moved = self._context.embedding.moved_at
        late = [name for name, at in self._turned.items() if self._monotonic() - max(at, moved) > STALLED_SECONDS]
        return f"the {late[0]} loop has not turned for {STALLED_SECONDS:g} s" if late else None

    def ready(self) -> str | None:
        """None while partitions are being worked on and some label can be watched for, else what is missing."""
        if self._poll_thread is None or not self._poll_thread.connected:
            return "the broker is away"
        if (reason := self._context.labels_ready()) is not None:
            return reason
        return None if self._epochs.owned() else "no partitions are assigned"

    def _poll(self, poll_thread: PollThread, pool: ThreadPoolExecutor, stop: threading.Event) -> None:
        while not stop.is_set() and self._failure is None:
            self._note_turn("poll")
            try:
                poll_thread.turn(pool)
            except TransientError as error:
                poll_thread.connected = False
                log.warning("the broker is away", reason=str(error))
                stop.wait(AWAY_SECONDS)

    def _infer(self, inference: InferenceThread) -> None:
        with self._ending(inference):
            while not self._handover.stopped:
                self._note_turn("inference")
                inference.turn()
            inference.finish(FINISH_SECONDS)

    def _conclude(self, inference: InferenceThread) -> None:
        with self._ending(inference):
            while not inference.concluded:
                self._note_turn("concluding")
                inference.conclude(CONCLUDE_SECONDS)

    @contextmanager
    def _ending(self, inference: InferenceThread) -> Iterator[None]:
        """The body of an inference thread: when one ends, so does the other."""
        try:
            yield
        except BaseException as error:  # raised again by the poll thread, which ends the process
            self.end_with(error)
        finally:
            inference.abandon()

    def _note_turn(self, which: str) -> None:
        self._turned[which] = self._monotonic()
