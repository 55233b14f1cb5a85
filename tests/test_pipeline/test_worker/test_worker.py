import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.bundle.store import publish
from engines.testing import COLOURS, tiny_bundle
from pipeline.analysis.ticks import tick_ns
from pipeline.broker.contract import TopicSettings
from pipeline.broker.control_topic import write
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.in_process.producers import InProcessTransactions
from pipeline.broker.reading import read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.http import HttpSettings
from pipeline.config.labels import LabelSettings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.config.worker import WorkerSettings
from pipeline.errors import BrokerTimeout, ConfigurationError, FencedError, TransactionAborted
from pipeline.health import HealthServer
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.labels import Label, LiveLabel
from pipeline.records.wire import Message, Partition, Record
from pipeline.worker import bundle_swap, fail_points, label_sync, poll_thread
from pipeline.worker.process import run_worker
from pipeline.worker.worker import Worker

PARTITIONS = 2
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), colour, np.uint8)) for name, colour in COLOURS.items()}


@pytest.fixture(scope="module", autouse=True)
def _impatient() -> Iterator[None]:
    """Idle threads check more often. No result depends on how often, and no test waits for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poll_thread, "POLL_SECONDS", 0.02)
        patch.setattr(label_sync, "FOLLOW_SECONDS", 0.02)
        patch.setattr(bundle_swap, "LOOK_SECONDS", 0.05)
        yield


class Killed(BaseException):
    """The worker dies here."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A deployment of two partitions that watches for cyan."""
    path = tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)
    return Settings(
        topics=TopicsSettings(namespace="test", partitions=PARTITIONS),
        labels=(LabelSettings(text="cyan"),),
        worker=WorkerSettings(
            bundle=str(path), backend="onnxruntime", threads=1, start="begin", commit_seconds=0.05, batch_milliseconds=2
        ),
        http=HttpSettings(worker_port=None),
    )


@pytest.fixture
def broker(settings: Settings) -> Iterator[InProcessBroker]:
    """A broker with the topics of the deployment."""
    broker = InProcessBroker()
    apply_topics(broker, settings)
    yield broker
    broker.close()


def show(
    broker: InProcessBroker, scenes: Sequence[tuple[str, int]], *, camera: str = "door", session: int = 1, tick: int = 0
) -> int:
    """Publish scenes of (colour, frames), one frame per tick; return the next tick."""
    producer = broker.producer()
    number = 0 if camera in ("door", "roof") else 1
    for colour, count in scenes:
        for _ in range(count):
            record = FrameRecord(
                camera, session, tick, tick, 4, tick_ns(tick, 4, camera), "arrival", 32, 32, JPEGS[colour]
            )
            message = encode_stream_record(record)
            producer.send("test.frames", Message(message.key, message.value, message.headers, number))
            tick += 1
    return tick


SCENES = [("grey", 12), ("cyan", 16), ("grey", 12), ("cyan", 12), ("grey", 16)]


def written(broker: InProcessBroker, topic: str, partitions: int = PARTITIONS) -> list[Record]:
    """Committed records of a topic, by partition."""
    records = read_all(broker, [Partition(topic, number) for number in range(partitions)])
    return sorted(records, key=lambda record: (record.partition, record.offset))


def events(broker: InProcessBroker) -> list[tuple[int, bytes | None]]:
    """What subscribers see, without the offsets that an aborted transaction may have used up."""
    return [(record.partition, record.value) for record in written(broker, "test.events")]


def caught_up(broker: InProcessBroker) -> bool:
    """True when every record was processed and committed."""
    return not any(broker.lag("actionwire-worker", "test.frames", 1.0).values())


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@contextmanager
def running(
    broker: InProcessBroker,
    settings: Settings,
    strike: Callable[[str], None] | None = None,
) -> Iterator[tuple[Worker, list[BaseException]]]:
    """A worker in a thread; what ended it before its time is in the list. strike: hook of its fail points."""
    stop, workers, ends = threading.Event(), [], []

    def body() -> None:
        try:
            run_worker(settings, broker, stop=stop, slot="a", started=lambda worker, _: workers.append(worker))
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fail_points, "hook", strike)
        thread.start()
        try:
            until(lambda: bool(workers or ends))
            yield (workers or [None])[0], ends
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="module")
def undisturbed(settings: Settings) -> list[tuple[int, bytes | None]]:
    """The events of a run in which nothing went wrong."""
    broker = InProcessBroker()
    apply_topics(broker, settings)
    show(broker, SCENES)
    show(broker, SCENES, camera="yard")
    with running(broker, settings) as (_, ends):
        until(lambda: caught_up(broker))
    assert not ends
    found = events(broker)
    broker.close()
    return found


def test_frames_become_events(undisturbed: list[tuple[int, bytes | None]]) -> None:
    """Two cameras that each show cyan twice give four events, each started and ended, in their cameras' partitions."""
    starts = [(number, value) for number, value in undisturbed if value and b'"phase":"started"' in value]
    ends = [(number, value) for number, value in undisturbed if value and b'"phase":"ended"' in value]
    assert [number for number, _ in starts] == [0, 0, 1, 1] and len(ends) == 4


STEPS = [
    *(f"commit:{number}" for number in (1, 2, 3, 4, 5, 6, 7, "done")),
    *(f"assign:{number}" for number in (1, 2, 3, 4)),
    "batch:prepared",
]


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_at_any_step_loses_and_doubles_nothing(
    step: str, broker: InProcessBroker, settings: Settings, undisturbed: list[tuple[int, bytes | None]]
) -> None:
    """Killed at a numbered step of its third commit or first assignment, its successor finishes with the same bytes."""
    show(broker, SCENES)
    show(broker, SCENES, camera="yard")
    seen = {"count": 0}

    def die(at: str) -> None:
        seen["count"] += at == step
        if at == step and seen["count"] == (1 if step.startswith("assign") else 3):
            raise Killed(step)

    with running(broker, settings, die) as (_, ends):
        until(lambda: bool(ends))
    assert isinstance(ends[0], Killed)
    with running(broker, settings) as (_, ends):
        until(lambda: caught_up(broker))
    assert not ends and events(broker) == undisturbed


@pytest.mark.parametrize(
    "step", ["commit:3", "commit:4", "commit:5", "commit:6", "commit:7", "assign:2", "batch:prepared"]
)
def test_a_failed_transaction_is_done_again(
    step: str, broker: InProcessBroker, settings: Settings, undisturbed: list[tuple[int, bytes | None]]
) -> None:
    """An aborted transaction, or a state that cannot be read, costs a new assignment and nothing else."""
    show(broker, SCENES)
    show(broker, SCENES, camera="yard")
    left = {"failures": 3}

    def disturb(at: str) -> None:
        if at == step and left["failures"]:
            left["failures"] -= 1
            raise BrokerTimeout("injected") if at.startswith("assign") else TransactionAborted("injected")

    with running(broker, settings, disturb) as (_, ends):
        until(lambda: caught_up(broker) and not left["failures"])
    assert not ends and events(broker) == undisturbed


def test_a_partition_that_cannot_be_restored_holds_nobody_up(
    broker: InProcessBroker, settings: Settings, undisturbed: list[tuple[int, bytes | None]]
) -> None:
    """While one partition waits for its state, every record of the others is processed.

    partition 0   |==== owned, frames arrive all the time ===========|
    partition 1   |==== owned | another's | restoring fails | owned ==|
    """
    broken = threading.Event()

    def disturb(at: str) -> None:
        if at == "assign:2" and broken.is_set():
            raise BrokerTimeout("injected")

    show(broker, SCENES, camera="yard")
    with running(broker, settings, disturb) as (worker, ends):
        until(lambda: caught_up(broker) and len(worker.owned()) == PARTITIONS)
        other = broker.group_consumer("test.frames", "actionwire-worker")
        until(lambda: bool(other.poll(0.05, 1).assigned))
        until(lambda: len(worker.owned()) == 1)
        broken.set()
        other.close()
        tick = 0
        for colour, count in SCENES:
            for _ in range(count):
                tick = show(broker, [(colour, 1)], tick=tick)
                time.sleep(0.01)
        broken.clear()
        until(lambda: caught_up(broker))
    assert not ends and sorted(events(broker)) == sorted(undisturbed)


def test_positions_follow_records_that_are_acknowledged(
    broker: InProcessBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a commit writes nothing but a dead letter: whatever ends it early, what P has passed is there."""
    calls: list[str] = []
    for name in ("begin", "send", "offsets", "commit_positions"):
        original = getattr(InProcessTransactions, name)

        def noted(*arguments: Any, name: str = name, original: Callable[..., Any] = original) -> Any:
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(InProcessTransactions, name, noted)
    with running(broker, settings):
        for number in range(3):
            broker.producer().send("test.frames", Message(b"door", b"no frame", (), 0))
            until(lambda number=number: len(written(broker, "test.dead", 1)) == number + 1)  # type: ignore[misc]
    commits = " ".join(calls).split("begin ")[1:]
    assert sum("send" in one for one in commits) == 3
    assert all("offsets commit_positions" in one for one in commits)


def test_a_bad_record_goes_to_the_dead_letters(broker: InProcessBroker, settings: Settings) -> None:
    """What is not a frame or not a JPEG is kept with its reason, once, and the frames around it count."""
    tick = show(broker, [("grey", 6)])
    frame = encode_stream_record(FrameRecord("door", 1, 6, tick, 4, 0, "arrival", 32, 32, b"no picture"))
    producer = broker.producer()
    producer.send("test.frames", Message(frame.key, frame.value, frame.headers, 0))
    producer.send("test.frames", Message(b"door", b"x" * 5000, (("schema", b"9"),), 0))
    show(broker, [("cyan", 12)], tick=tick)
    for _ in range(2):
        with running(broker, settings):
            until(lambda: caught_up(broker))
    dead = written(broker, "test.dead", 1)
    found = [dict(record.headers) for record in dead]
    assert [(one["reason"], one["offset"]) for one in found] == [(b"jpeg", b"6"), (b"schema", b"7")]
    assert found[1]["original_schema"] == b"9" and dead[1].value == b"x" * 1024 and found[1]["value_bytes"] == b"5000"
    assert len(events(broker)) >= 1


def test_a_label_that_is_added_while_running_is_watched_for(broker: InProcessBroker, settings: Settings) -> None:
    """A marker in the partition puts the new set in force; events say under which version they were raised."""
    with running(broker, settings) as (worker, _):
        tick = show(broker, [("grey", 8), ("magenta", 8)])
        until(lambda: caught_up(broker) and bool(worker.owned()))
        version = write(broker, "test.control", [LiveLabel("magenta", Label("magenta", "magenta"))], 5.0)

        def marked() -> bool:
            return any(dict(record.headers)["kind"] == b"labels" for record in written(broker, "test.frames"))

        until(marked)
        until(lambda: caught_up(broker))
        assert not events(broker)
        show(broker, [("grey", 8), ("magenta", 10), ("grey", 10)], tick=tick)
        until(lambda: caught_up(broker))
    found = [value for _, value in events(broker) if value and b'"text":"magenta"' in value]
    assert len(found) >= 2 and all(f'"labels_version":{version}'.encode() in value for value in found)


def test_a_camera_that_stops_sending_is_ended(broker: InProcessBroker, settings: Settings) -> None:
    """If ingest writes no end marker for a camera, the owner of its partition does, and the open event ends as lost."""
    worker = settings.worker.model_copy(update={"lost_seconds": 0.3})
    show(broker, [("grey", 8), ("cyan", 12)])
    with running(broker, settings.model_copy(update={"worker": worker})):
        until(lambda: any(value is not None and b'"reason":"lost"' in value for _, value in events(broker)))
    kinds = [dict(record.headers)["kind"] for record in written(broker, "test.frames")]
    assert kinds.count(b"end") >= 1


def test_a_camera_that_stops_sending_among_others_is_ended(broker: InProcessBroker, settings: Settings) -> None:
    """Others in its partition go on, so the log is never read to its end; its event ends all the same, and what must be
    read again after a restart does not grow with the time since its last frame.

    door   x x x x
    roof   x x x x x x x x x x x x
                         door is lost
    """
    worker = settings.worker.model_copy(update={"lost_seconds": 0.3})
    show(broker, [("grey", 8), ("cyan", 12)])
    ended = threading.Event()

    def go_on() -> None:
        tick = 0
        while not ended.wait(0.002):
            tick = show(broker, [("grey", 1)], camera="roof", tick=tick)

    roof = threading.Thread(target=go_on)
    roof.start()
    try:
        with running(broker, settings.model_copy(update={"worker": worker})):
            until(lambda: any(value is not None and b'"reason":"lost"' in value for _, value in events(broker)))
    finally:
        ended.set()
        roof.join()


def test_an_engine_is_swapped_without_losing_an_event(
    broker: InProcessBroker, settings: Settings, undisturbed: list[tuple[int, bytes | None]]
) -> None:
    """A swap to the same bundle in the middle of everything changes no byte."""
    with running(broker, settings) as (worker, ends):
        show(broker, SCENES)
        until(lambda: bool(worker.owned()))
        worker.swap(worker._equipment)
        show(broker, SCENES, camera="yard")
        until(lambda: not worker.swapping)
        until(lambda: caught_up(broker))
    assert not ends and events(broker) == undisturbed


def test_a_swap_that_is_requested_before_the_loop_turns_waits_for_it(
    broker: InProcessBroker, settings: Settings
) -> None:
    """The old engine is closed once the swap is over, so it must not seem over while nothing was swapped."""
    stop, began = threading.Event(), list[tuple[Worker, bool]]()

    def started(worker: Worker, _: HealthServer | None) -> None:
        worker.swap(worker._equipment)
        began.append((worker, worker.swapping))

    thread = threading.Thread(target=run_worker, args=(settings, broker), kwargs={"stop": stop, "started": started})
    thread.start()
    until(lambda: bool(began) and not began[0][0].swapping)
    stop.set()
    thread.join()
    assert began[0][1]


def test_a_bundle_that_is_published_is_taken_up_while_an_event_is_open(
    broker: InProcessBroker, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subscribers see one event that began under the old version and ended under the new one.

    shown      grey | cyan ..................... | grey
    current    0.1.0         | 0.2.0
    event             |started---------updated---|ended
    """
    monkeypatch.setenv("ACTIONWIRE_STORE", str(tmp_path / "store"))
    bundles = [tiny_bundle(tmp_path / version, frames=4, version=version) for version in ("0.1.0", "0.2.0")]
    publish(tmp_path / "store", bundles[0])
    worker_settings = settings.worker.model_copy(update={"bundle": "tiny"})

    def seen() -> list[dict[str, Any]]:
        return [json.loads(value) for _, value in events(broker) if value is not None]

    with running(broker, settings.model_copy(update={"worker": worker_settings})) as (_, ends):
        tick = show(broker, [("grey", 8), ("cyan", 8)])
        until(lambda: bool(seen()))
        publish(tmp_path / "store", bundles[1])

        def taken_up() -> bool:
            nonlocal tick
            tick = show(broker, [("cyan", 1)], tick=tick)
            return any(one["model"]["version"] == "0.2.0" for one in seen())

        until(taken_up)
        show(broker, [("grey", 12)], tick=tick)
        until(lambda: caught_up(broker) and seen()[-1]["phase"] == "ended")
    assert not ends
    found = seen()
    assert {one["id"] for one in found} == {found[0]["id"]}
    assert [one["phase"] for one in found if one["phase"] != "updated"] == ["started", "ended"]
    assert [one["sequence"] for one in found] == list(range(len(found)))
    assert found[0]["model"]["version"] == found[-1]["started_by"]["version"] == "0.1.0"
    assert found[-1]["model"]["version"] == "0.2.0"


def test_a_fenced_worker_ends(broker: InProcessBroker, settings: Settings) -> None:
    """A replaced worker does not try again: its process ends, and the supervisor starts a new one."""
    show(broker, SCENES)

    def fence(at: str) -> None:
        if at == "commit:6":
            raise FencedError("injected")

    with running(broker, settings, fence) as (_, ends):
        until(lambda: bool(ends))
    assert isinstance(ends[0], FencedError) and not events(broker)


def test_a_worker_answers_probes_and_counts(broker: InProcessBroker, settings: Settings) -> None:
    """Probes answer while it runs, and the metrics count what it did."""
    http = HttpSettings(worker_port=0)
    served: list[HealthServer] = []
    stop = threading.Event()
    show(broker, SCENES)
    arguments = {"stop": stop, "slot": "a", "started": lambda _, health: served.append(health)}
    thread = threading.Thread(
        target=run_worker, args=(settings.model_copy(update={"http": http}), broker), kwargs=arguments
    )
    thread.start()
    until(lambda: bool(served) and caught_up(broker))
    pages = {}
    for name in ("live", "ready", "metrics"):
        with urllib.request.urlopen(f"{served[0].url}/{name}", timeout=5) as answer:
            pages[name] = answer.read().decode()
    stop.set()
    thread.join()
    assert pages["live"] == pages["ready"] == "ok\n"
    values = dict(line.rsplit(" ", 1) for line in pages["metrics"].splitlines() if not line.startswith("#"))
    frames = sum(count for _, count in SCENES)
    assert float(values["actionwire_frames_total"]) == frames
    assert float(values["actionwire_windows_total"]) == frames - 3
    assert float(values["actionwire_live_seconds_total"]) == frames / 4
    assert float(values["actionwire_analysed_seconds_total"]) == (frames - 3) / 4
    assert float(values['actionwire_events_total{phase="started"}']) == 2
    assert float(values["actionwire_assigned_partitions"]) == PARTITIONS


def test_unequal_topics_are_refused(settings: Settings) -> None:
    """A worker does not start on topics that do not belong together."""
    broker = InProcessBroker()
    names = {"frames": 2, "events": 3, "state": 2, "control": 1, "dead": 1, "cameras": 1, "examples": 1}
    broker.ensure_topics([TopicSettings(f"test.{name}", count) for name, count in names.items()], 1.0)
    with pytest.raises(ConfigurationError, match="partition counts differ"):
        run_worker(settings, broker, stop=threading.Event())
    broker.close()
