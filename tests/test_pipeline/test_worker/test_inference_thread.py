"""All threads of a worker run by one, so that a test decides how their steps interleave."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from engines.contract import Images, Items, Memory
from pipeline.analysis.camera_streams import Geometry
from pipeline.broker.contract import Polled, TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import TransactionAborted
from pipeline.metrics import WorkerMetrics
from pipeline.records.events import decode_event
from pipeline.records.frames import EndMarker, encode_stream_record
from pipeline.records.wire import Message, Partition
from pipeline.testing import COLOURS, ColourEngine, ColourLabels, ManualClock, frame
from pipeline.worker import fail_points, inference_thread, poll_thread
from pipeline.worker.epochs import Epochs
from pipeline.worker.handover import Handover, WorkerContext
from pipeline.worker.inference import conclusion
from pipeline.worker.inference.kept_items import KeptItems
from pipeline.worker.inference_thread import InferenceThread
from pipeline.worker.label_views import EMPTY, LabelHistory, LabelViews
from pipeline.worker.model import Equipment, SwapRequest
from pipeline.worker.overload import Pressure, steps
from pipeline.worker.poll_thread import PollThread

SETTINGS = Settings(
    topics=TopicsSettings(namespace="test", partitions=2),
    worker=WorkerSettings(start="begin", overload="queue", batch_frames=4, poll_records=6, commit_seconds=0.01),
)
FRAMES, GROUP = SETTINGS.topics.name("frames"), SETTINGS.worker.group
P0, P1 = Partition(FRAMES, 0), Partition(FRAMES, 1)
CAMERAS = ("door", "yard")
SCENES = [("blue", 6), ("red", 10), ("blue", 9), ("red", 8), ("blue", 9)]


@dataclass(slots=True)
class SizedEngine(ColourEngine):
    """An engine that takes pictures of one size only, as real ones do."""

    size: int = 2

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """As any engine; another size is refused."""
        assert images.shape[1:3] == (self.size, self.size), f"pictures of {images.shape} for an engine of {self.size}"
        return super(SizedEngine, self).encode(images, memory)


LONG = sum(count for _, count in SCENES)
"""Records of each partition."""


def equipment(size: int) -> Equipment:
    """An engine of an input size, and a `prepare` that fits."""
    labels = ColourLabels.of(-1, ["red"])
    label_views = LabelViews(lambda _: labels, LabelHistory(complete=True))
    label_views(EMPTY)

    def prepare(jpeg: bytes, pixel: float = 1.0) -> Images:
        return np.full((size, size, 3), COLOURS[jpeg.decode()], np.uint8)

    return Equipment(SizedEngine(size=size), Geometry(4, 4), prepare, label_views, origin=size)


class Seam:
    """Something that both halves use; at every access something else may happen just before and after."""

    def __init__(self, inside: object, between: Callable[[], None]) -> None:
        self._inside, self._between = inside, between

    def __getattr__(self, name: str) -> Any:
        self._between()
        found = getattr(self._inside, name)
        return partial(self._called, found) if callable(found) else found

    def _called(self, method: Callable[..., Any], *arguments: Any) -> Any:
        result = method(*arguments)
        self._between()
        return result


@dataclass
class Halves:
    """A worker whose halves turn when they are told to; `hook` is called with every step that one of them reaches."""

    broker: InProcessBroker
    hook: Callable[[str], None] = lambda step: None
    seam: Callable[[], None] = lambda: None
    clock: ManualClock = field(default_factory=ManualClock)
    epochs: Epochs = field(default_factory=Epochs)
    swap: SwapRequest = field(default_factory=SwapRequest)
    busy: list[str] = field(default_factory=list)
    """The halves that are in the middle of a turn."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    cut: list[Partition] = field(default_factory=list)
    """Partitions whose log lost its end, as the next poll reports it, at an offset that does not exist yet."""

    def __post_init__(self) -> None:
        metrics = WorkerMetrics(self.registry, per_camera=1)
        self.pool = ThreadPoolExecutor(1)
        self.handover = Handover(4, 0.0, 64, self.clock.monotonic)
        handover: Any = Seam(self.handover, lambda: self.seam())
        epochs: Any = Seam(self.epochs, lambda: self.seam())
        context = WorkerContext(SETTINGS, self.broker, metrics, "a", self.clock.monotonic, self.clock.now_ns)
        self.kept = KeptItems()
        self.inference = InferenceThread(
            context, equipment(2), self.swap, handover, epochs, self.kept, turned=lambda: None
        )
        self.consumer: Any = self.broker.group_consumer(FRAMES, GROUP)
        committed, poll = self.consumer.committed, self.consumer.poll
        self.consumer.committed = lambda partitions, seconds: committed(partitions, 0.0)
        self.consumer.poll = lambda seconds, most: self._cut_back(poll(seconds, most))
        self.poller = PollThread(
            context,
            self.consumer,
            self.broker.producer(),
            equipment=lambda: self.inference.equipment,
            handover=handover,
            epochs=epochs,
            kept=self.kept,
        )

    def _cut_back(self, polled: Polled) -> Polled:
        cut, self.cut = self.consumer.owned.intersection(self.cut) - polled.assigned, []
        records = {one: found for one, found in polled.records.items() if one not in cut}
        return replace(polled, records=records, skipped=dict.fromkeys(cut, (LONG + 1, LONG)))

    def poll(self, turns: int = 1) -> None:
        """Turns of the poll thread, if it is not in the middle of one."""
        self._turn("poll", lambda: self.poller.turn(self.pool), turns)

    def infer(self, turns: int = 1) -> None:
        """Turns of both inference threads, each late enough for a commit; of one that is not in the middle of one."""
        for _ in range(turns):
            self.prepare()
            self.conclude()

    def prepare(self) -> None:
        """Turns of the thread that prepares: one for what it does alone, one for a batch."""
        self._turn("inference", self.inference.turn, 2)

    def conclude(self) -> None:
        """A turn of the thread that concludes."""
        self._turn("concluding", lambda: self.inference.conclude(0.0), 1)

    def _turn(self, which: str, turn: Callable[[], None], turns: int) -> None:
        if which in self.busy:
            return
        self.busy.append(which)
        for _ in range(turns):
            self.clock.advance(0.02)
            turn()
        self.busy.remove(which)

    def finish(self) -> None:
        """Work until every record was processed."""
        for _ in range(400):
            self.poll()
            self.infer()
            if not any(self.broker.lag(GROUP, FRAMES, 1.0).values()):
                return
        raise AssertionError(f"a partition stands still: {self.broker.lag(GROUP, FRAMES, 1.0)}")


def show(broker: InProcessBroker) -> None:
    """Two cameras, each in a partition of its own, that show red twice."""
    producer = broker.producer()
    for number, camera in enumerate(CAMERAS):
        colours = [colour for colour, count in SCENES for _ in range(count)]
        for tick, colour in enumerate(colours):
            message = encode_stream_record(frame(camera, tick, jpeg=colour.encode()))
            producer.send(FRAMES, Message(message.key, message.value, message.headers, number))


def events(broker: InProcessBroker) -> list[tuple[int, str, str]]:
    """(partition, message id, phase) of what subscribers see."""
    reader = broker.reader([Partition("test.events", number) for number in range(2)])
    records = reader.read(0.0)
    found = [(record.partition, decode_event(record.value)) for record in records]
    return sorted(((number, one.message_id, one.phase) for number, one in found), key=lambda one: one[0])


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Halves]]:
    """Makes workers, each with a broker of its own where two cameras were recorded; nothing in them waits."""
    monkeypatch.setattr(poll_thread, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(poll_thread, "BUSY_POLL_SECONDS", 0.0)
    monkeypatch.setattr(conclusion, "MEMBERSHIP_SECONDS", 0.0)
    monkeypatch.setattr(inference_thread, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(inference_thread, "BUSY_SECONDS", 0.0)
    made: list[Halves] = []

    def make() -> Halves:
        broker = InProcessBroker()
        broker.ensure_topics([TopicSettings(f"test.{name}", 2) for name in ("frames", "state", "events", "dead")], 1.0)
        show(broker)
        made.append(Halves(broker))
        monkeypatch.setattr(fail_points, "hook", lambda step: made[-1].hook(step))
        return made[-1]

    yield make
    for one in made:
        one.pool.shutdown()
        one.broker.close()


@pytest.fixture
def undisturbed(halves: Callable[[], Halves]) -> list[tuple[int, str, str]]:
    """The events of a worker to which nothing happens."""
    worker = halves()
    worker.finish()
    found = events(worker.broker)
    assert Counter(phase for _, _, phase in found)["ended"] == 4
    return found


def own_one(worker: Halves) -> Any:
    """Let another member have P1 while the worker has records of P0 to process; return it."""
    other = worker.broker.group_consumer(FRAMES, GROUP)
    worker.poll()
    other.poll(0.0, 1)
    worker.poll()
    worker.infer()
    worker.poll(2)
    assert list(worker.epochs.owned()) == [P0]
    return other


def at(step: str, act: Callable[[], None], when: Callable[[], bool] = lambda: True) -> Callable[[str], None]:
    """A hook that acts once, at a step."""
    left = [act]
    return lambda reached: left.pop()() if reached == step and left and when() else None


def test_what_was_restored_before_an_abort_is_not_opened_after_it(
    halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]]
) -> None:
    """Another epoch would begin where the first one began, and send the same events again.

    poll        | restores P1, records wait |            reads P of P1 |            | begins there
    inference   commit of P0 ...................| aborted             | opens P1?  |
    """
    worker = halves()
    other = own_one(worker)
    other.close()
    began: list[int] = []

    def restore() -> None:
        worker.poll(9)
        began.append(worker.epochs.owned()[P1])

    worker.hook = at("commit:6", restore)  # and the membership of the commit is over
    worker.infer()
    worker.prepare()
    assert began and not worker.epochs.is_current(P1, began[0])
    worker.hook = at("assign:2", lambda: worker.infer(20))
    worker.finish()

    assert events(worker.broker) == undisturbed


def test_what_was_restored_before_a_swap_is_not_opened_after_it(
    halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]]
) -> None:
    """Its records were prepared for the engine before, which took pictures of another size.

    poll        | restores P1, records wait |
    inference   last commit ...................| swap | opens P1?
    """
    worker = halves()
    other = own_one(worker)
    other.close()
    worker.swap.equipment = equipment(3)
    began: list[int] = []

    def restore() -> None:
        worker.poll(9)
        began.append(worker.epochs.owned()[P1])

    worker.hook = at("commit:2", restore)
    worker.infer()
    assert began and not worker.epochs.is_current(P1, began[0])
    worker.infer(3)
    worker.finish()

    assert worker.swap.equipment is None and events(worker.broker) == undisturbed


def test_what_is_restored_while_an_assignment_is_requested_is_restored_again(
    halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]]
) -> None:
    """The poll thread has read the positions before the request, and will read them again because of it.

    poll        | reads P .......... hands over? |                  reads P again |
    inference            | swap |                | opens it? commits ...............|
    """
    worker = halves()
    worker.poll()
    worker.infer()

    def swap() -> None:
        worker.swap.equipment = equipment(2)
        worker.infer(2)

    swap()
    worker.hook = at("assign:2", swap)
    worker.poll()
    assert not worker.epochs.owned()
    worker.hook = at("commit:3", lambda: worker.poll(2), when=lambda: worker.inference._committer.pending.urgent)
    worker.infer(20)
    worker.finish()

    assert events(worker.broker) == undisturbed


def test_a_poll_thread_that_is_quicker_loses_nothing(
    halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it restores for a request, before the older epochs ended, belongs to newer epochs, which go on.

    poll        |                          | restores P1 |
    inference   | forgets P1, requests ....|             | ends the epoch that P1 had
    """
    worker = halves()
    other = own_one(worker)
    other.close()
    request = worker.handover.request_reassign

    def requested() -> dict[Partition, int]:
        waiting = request()
        worker.poll()
        return waiting

    monkeypatch.setattr(worker.handover, "request_reassign", requested)
    worker.swap.equipment = equipment(2)
    worker.hook = at("commit:2", lambda: worker.poll(9))
    worker.infer()
    assert set(worker.epochs.owned()) == {P0, P1}
    worker.finish()

    assert events(worker.broker) == undisturbed


def test_a_partition_whose_log_lost_its_end_is_restored_after_the_commit_under_way(
    halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]]
) -> None:
    """Restored at once it would begin before the events that the commit is about to send.

    poll        |         reads on from a smaller offset |           | reads P, begins there
    inference   | commit with events .......................| leaves |
    """
    worker = halves()
    began: list[int] = []

    def lose_the_end() -> None:
        began.append(worker.epochs.owned()[P0])
        worker.cut = [P0]
        worker.poll(2)
        assert P0 not in worker.epochs.owned()

    worker.hook = at("commit:3", lose_the_end, when=lambda: worker.inference._committer.pending.urgent)
    worker.finish()
    worker.poll()

    assert worker.epochs.owned()[P0] > began[0] and events(worker.broker) == undisturbed


def test_a_batch_is_prepared_while_another_is_committed(
    halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]]
) -> None:
    """What is decided meanwhile joins the next transaction; never are there two.

    prepares    | batch n | batch n+1 | batch n+2 | no room
    concludes             | batch n, commit ............... | n+1 and n+2, commit
    """
    worker = halves()
    worker.poll()
    worker.infer()
    steps: list[str] = []

    def go_on() -> None:
        for _ in range(4):
            worker.poll()
            worker.prepare()

    ahead = at("commit:6", go_on)

    def note(step: str) -> None:
        steps.append(step)
        ahead(step)

    worker.hook = note
    worker.poll()
    worker.infer()
    meanwhile = steps[steps.index("commit:6") : steps.index("commit:done")]
    assert meanwhile.count("batch:prepared") == 2, "two batches and no more"
    worker.conclude()
    assert steps.count("commit:3") == steps.count("commit:done") == 2
    worker.finish()

    assert events(worker.broker) == undisturbed


@pytest.mark.parametrize("what", ["abort", "swap"])
def test_nothing_is_encoded_again_after_an_abort_or_a_swap_within_a_space(
    what: str, halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items that were in the rings are kept: every frame is encoded once, whatever happens between.

    read        | 0 ... 30 | abort | R ... 30, items kept | 31 ...
    encoded     | 0 ... 30 |       |                      | 31 ...
    """
    encoded: list[int] = []
    encode, small = SizedEngine.encode, equipment(2)
    decoded = Counter[str]()

    def counted(engine: SizedEngine, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        encoded.append(len(images))
        return encode(engine, images, memory)

    def prepare(jpeg: bytes, pixel: float = 1.0) -> Images:
        decoded["all"] += 1
        return small.prepare(jpeg, pixel)

    monkeypatch.setattr(SizedEngine, "encode", counted)
    worker = halves()
    known = worker.inference.equipment = replace(small, prepare=prepare)

    def strike() -> None:
        if what == "abort":
            raise TransactionAborted("injected")
        worker.swap.equipment = known

    worker.hook = at("commit:5", strike, when=lambda: sum(encoded) > 60)
    worker.finish()

    assert events(worker.broker) == undisturbed
    assert sum(encoded) == 2 * LONG
    assert decoded["all"] - sum(encoded) <= 2 * SETTINGS.worker.poll_records, "at most what waited for its batch"
    assert not worker.kept.of(P0) and not worker.kept.of(P1), "nothing is kept that nobody will ask for"


@pytest.mark.parametrize("seed", range(4))
def test_wherever_the_halves_meet_nothing_is_lost_or_doubled(
    seed: int, halves: Callable[[], Halves], undisturbed: list[tuple[int, str, str]]
) -> None:
    """Rebalances, aborts, swaps and logs that lost their end, while either half is at any step of its own or about to
    touch what both share."""
    worker, chance = halves(), random.Random(seed)
    others: list[Any] = []

    def disturb() -> None:
        kind = chance.randrange(40)
        if kind < 9:
            worker.poll()
        elif kind < 14:
            worker.prepare()
        elif kind < 18:
            worker.conclude()
        elif kind < 20 and worker.swap.equipment is None:
            worker.swap.equipment = equipment(chance.randrange(2, 5))
        elif kind == 20 and not others:
            others.append(worker.broker.group_consumer(FRAMES, GROUP))
        elif kind == 21 and others:
            others.pop().close()
        elif kind == 22:
            worker.cut = [P0, P1]
        elif others:
            others[0].poll(0.0, 1)

    worker.hook, worker.seam = lambda step: disturb(), disturb
    for _ in range(30):
        worker.poll()
        worker.infer()
    worker.hook, worker.seam = lambda step: None, lambda: None
    for other in others:
        other.close()
    worker.finish()

    assert events(worker.broker) == undisturbed


@dataclass(slots=True)
class Forced(Pressure):
    """Takes the step that a test wants."""

    wanted: int = 0

    def observe(self, now: float, age_seconds: float, *, idle: bool = False) -> int:
        """The wanted step."""
        self.level = self.wanted
        return self.level


def test_relief_is_taken_and_given_back_while_the_other_thread_rests(halves: Callable[[], Halves]) -> None:
    """Fewer ticks mean other windows, for which every partition is restored; then cameras are left out; then neither.

    step       0      1 (every second tick)      3 (and half of the cameras)      0
    """
    worker = halves()
    found = equipment(2)
    known = steps(found.geometry, (1, 2), (1,), "frame")
    worker.inference.equipment = replace(found, steps=known)
    pressure = worker.inference._pressure = Forced(len(known) - 1)
    seen = []
    for level in (0, 1, 3, 0):
        pressure.wanted = level
        for _ in range(4):
            worker.poll()
            worker.infer()
        analyser = worker.inference._committer.analyser
        shed = {len(one.streams.shed) for one in analyser.partitions.values() if not one.streams.restored}
        gauge = worker.registry.get_sample_value("actionwire_relief_level")
        seen.append((gauge, analyser.geometry.spread, max(shed, default=0)))
    worker.finish()

    assert seen == [(0, 1, 0), (1, 2, 0), (3, 2, 1), (0, 1, 0)]


def test_only_cameras_that_are_there_are_left_out(halves: Callable[[], Halves]) -> None:
    """A camera that is gone costs nothing. To leave it out would save no work, and cost a live camera its place."""
    worker = halves()
    worker.finish()
    worker.poll()
    worker.inference._shed = 0.5
    assert worker.inference._left_out() == {"door"}
    others = worker.inference._committer.analyser.present() - {"door"}
    for camera in others:  # as ingest says, since the settings of this worker name no cameras
        worker.inference._context.priorities.published(camera, -1)
    assert worker.inference._left_out() == others
    for camera in others:
        worker.inference._context.priorities.published(camera, None)

    marker = encode_stream_record(EndMarker("door", 1, LONG - 1, "lost"))
    worker.broker.producer().send(FRAMES, Message(marker.key, marker.value, marker.headers, 0))
    worker.finish()

    assert worker.inference._left_out() == frozenset()


def test_the_series_of_a_camera_that_is_gone_are_freed(halves: Callable[[], Halves]) -> None:
    """Its frames were counted while it was there; afterwards the place is free for another camera."""
    worker = halves()
    worker.finish()
    assert worker.registry.get_sample_value("actionwire_camera_frames_total", {"camera": "door"})

    marker = encode_stream_record(EndMarker("door", 1, LONG - 1, "removed"))
    worker.broker.producer().send(FRAMES, Message(marker.key, marker.value, marker.headers, 0))
    worker.finish()
    worker.infer()

    assert worker.registry.get_sample_value("actionwire_camera_frames_total", {"camera": "door"}) is None
