"""Labels in a worker process: refused, edited, and slow to embed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from engines.testing import tiny_bundle
from engines.text.text_bank import TextEncoder
from pipeline.broker import control_topic
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.reading import read_all
from pipeline.broker.topics import apply_topics
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.metrics import WorkerMetrics
from pipeline.records.labels import Label, LiveLabel
from pipeline.records.wire import Partition
from pipeline.testing import ManualClock
from pipeline.worker import label_sync, poll_thread, process
from pipeline.worker.handover import WorkerContext
from pipeline.worker.label_views import EmbeddingProgress
from pipeline.worker.process import run_worker
from pipeline.worker.worker import STALLED_SECONDS, Worker

TOPIC = "actionwire.control"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle threads check more often. No result depends on how often."""
    monkeypatch.setattr(poll_thread, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(label_sync, "FOLLOW_SECONDS", 0.02)
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.02)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows colours and Latin letters, and texts of at most 62 words."""
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)


@pytest.fixture
def settings_of(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Settings]:
    """Makes settings of a worker; embeddings are kept nowhere that another test sees."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def make(**sections: Any) -> Settings:
        worker = {"bundle": str(bundle), "backend": "onnxruntime", "threads": 1}
        document = {"topics": {"partitions": 2}, "worker": worker, "http": {"worker_port": None}, **sections}
        return Settings.model_validate(document)

    return make


@pytest.fixture
def broker() -> Iterator[InProcessBroker]:
    """A broker with the topics of a deployment of two partitions."""
    broker = InProcessBroker()
    apply_topics(broker, Settings.model_validate({"topics": {"partitions": 2}}))
    yield broker
    broker.close()


@contextmanager
def running(broker: InProcessBroker, settings: Settings, **options: Any) -> Iterator[Worker]:
    """A worker in a thread."""
    stop, workers = threading.Event(), list[Worker]()
    arguments = {"stop": stop, "started": lambda worker, _: workers.append(worker), **options}
    thread = threading.Thread(target=run_worker, args=(settings, broker), kwargs=arguments)
    thread.start()
    try:
        until(lambda: bool(workers))
        yield workers[0]
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("red " * 60 + "car " * 10, "more than the model's 64 tokens"),
        ("человек падает", "does not know 'человек', 'падает'"),
        ({"text": "red", "exit": 0.9}, "exit 0.9 is above enter 0.8"),
    ],
)
def test_a_worker_that_can_watch_for_nothing_does_not_start(
    broker: InProcessBroker, settings_of: Callable[..., Settings], label: Any, reason: str
) -> None:
    """Its only label is too long, unreadable, or contradicts the settings' thresholds: a person must change it."""
    settings = settings_of()
    if isinstance(label, dict):
        control_topic.write(broker, TOPIC, [LiveLabel("red", Label("red", **label))], 5)
        settings = settings_of(events={"enter": 0.8})
    else:
        settings = settings_of(labels=[label.strip()])

    with pytest.raises(ConfigurationError, match=rf"none of the 1 labels in force can be watched for: .*{reason}"):
        run_worker(settings, broker, stop=threading.Event())


def test_a_refused_label_is_marked_and_stops_no_other(
    broker: InProcessBroker, settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, counted and reported with its words; once no other is left, the worker is not ready.

    labels   red, человек    человек          человек, blue
    ready    yes             no: the words    yes
    """
    counted: list[tuple[int, int]] = []
    monkeypatch.setattr(WorkerMetrics, "labels", lambda _, watched, refused: counted.append((watched, refused)))
    foreign = Label("x", "человек")

    def refused() -> dict[str, str]:
        report = control_topic.read(broker, TOPIC, 5).reports.get("actionwire-worker")
        return {} if report is None else dict(report.refused)

    with structlog.testing.capture_logs() as logs:
        control_topic.write(broker, TOPIC, [LiveLabel("x", foreign)], 5)
        with running(broker, settings_of(labels=["red"])) as worker:
            until(lambda: worker.ready() is None and counted[-1:] == [(1, 1)])
            until(lambda: "'человек'" in refused().get("x", ""))
            control_topic.apply_config(broker, TOPIC, [], 5)
            until(lambda: "does not know 'человек'" in (worker.ready() or ""))
            assert counted[-1] == (0, 1)
            control_topic.write(broker, TOPIC, [LiveLabel("blue", Label("blue", "blue"))], 5)
            until(lambda: worker.ready() is None and counted[-1] == (1, 1))
    (begin,) = (line for line in logs if line["event"] == "watching")
    assert begin["labels"] == ["red"] and "человек" in begin["cannot_watch_for"]["x"]
    assert begin["bundle"].startswith("tiny@") and "vocabulary" in begin["understands"]
    said = [line for line in logs if line["event"] == "a label cannot be watched for"]
    assert said and all("человек" in line["reason"] and line["log_level"] == "error" for line in said)


def test_edits_of_the_settings_take_effect_while_it_runs(
    broker: InProcessBroker, settings_of: Callable[..., Settings]
) -> None:
    """Labels and priorities at once; what is read at the start is named, and waits for the next one."""
    edits: list[Settings] = []
    door = {"door": {"url": "door.mp4", "priority": 7}}
    with (
        structlog.testing.capture_logs() as logs,
        running(broker, settings_of(labels=["red"]), reload=lambda: edits.pop(0) if edits else None) as worker,
    ):
        edits.append(settings_of(labels=["blue"], cameras=door))
        until(lambda: [one.text for one in control_topic.read(broker, TOPIC, 5).config] == ["blue"])
        until(lambda: worker._context.priorities.of("door") == 7)
        assert not any("started again" in line["event"] for line in logs)
        edits.append(settings_of(labels=["blue"], events={"enter": 0.9}, rate=8))
        until(lambda: any(line.get("sections") == ["rate", "events"] for line in logs))
        assert worker._context.priorities.of("door") == 0


class SlowTexts:
    """A text network that embeds a text when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        embed = TextEncoder.embed_labels

        def embed_labels(encoder: TextEncoder, labels: list[str]) -> Any:
            if any(slow in label for label in labels):
                self.begun.set()
                assert self.go.wait(30)
            return embed(encoder, labels)

        monkeypatch.setattr(TextEncoder, "embed_labels", embed_labels)


def test_the_group_hears_of_a_worker_that_embeds_for_minutes(
    broker: InProcessBroker, settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its labels are not ready, so it works on no partition; but it polls on and on, and then takes them."""
    texts = SlowTexts(monkeypatch, "red")
    with running(broker, settings_of(labels=["red"])) as worker:
        assert texts.begun.wait(20)
        for _ in range(5):
            turned = worker._turned["poll"]
            until(lambda turned=turned: worker._turned["poll"] > turned)  # type: ignore[misc]
        assert not worker.owned() and worker.live() is None
        texts.go.set()
        until(lambda: len(worker.owned()) == 2)


def test_partitions_go_on_while_a_new_label_is_embedded(
    broker: InProcessBroker, settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that takes minutes holds up neither polls nor commits of those that were there before."""
    texts = SlowTexts(monkeypatch, "slow")
    with running(broker, settings_of(labels=["red"])) as worker:
        until(lambda: len(worker.owned()) == 2)
        control_topic.write(broker, TOPIC, [LiveLabel("slow", Label("slow", "slow red"))], 5)
        assert texts.begun.wait(20)
        for which in ("poll", "inference"):
            turned = worker._turned[which]
            until(lambda which=which, turned=turned: worker._turned[which] > turned)  # type: ignore[misc]
        assert len(worker.owned()) == 2 and worker.ready() is None
        texts.go.set()


def test_a_worker_that_is_told_to_stop_does_not_embed_to_the_end(
    broker: InProcessBroker, settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred labels at most those under way are embedded; the rest at the next start."""
    texts, count = SlowTexts(monkeypatch, "red 0"), list[str]()
    monkeypatch.setattr(EmbeddingProgress, "over", _counted(EmbeddingProgress.over, count))
    with running(broker, settings_of(labels=[f"red {number:03}" for number in range(100)])) as worker:
        assert texts.begun.wait(20)

        def let_go() -> None:
            worker._context.embedding._stopped.wait(20)
            texts.go.set()

        threading.Thread(target=let_go).start()
    assert len(count) < 5


def _counted(over: Callable[..., Iterator[Any]], count: list[str]) -> Callable[..., Iterator[Any]]:
    def counting(progress: EmbeddingProgress, labels: Any) -> Iterator[Any]:
        for label in over(progress, labels):
            count.append(label)
            yield label

    return counting


def test_labels_that_are_being_embedded_count_as_turning(broker: InProcessBroker) -> None:
    """A loop that waits for them is alive as long as they move on; one that hangs beside them, or after them, is not.

    seconds     0       50        100       150      161
    loops       turn    -         -         -        -
    embedding           a label   a label            (stands still for a minute)
    live        yes     yes       yes       yes      no
    """
    clock = ManualClock()
    progress, settings = EmbeddingProgress(clock.monotonic), Settings.model_validate({"topics": {"partitions": 2}})
    metrics = WorkerMetrics(CollectorRegistry())
    context = WorkerContext(settings, broker, metrics, "a", clock.monotonic, clock.now_ns, embedding=progress)
    worker = Worker(context, None)  # type: ignore[arg-type]
    labels = progress.over(("a", "b", "c"))
    for _ in range(2):
        clock.advance(50)
        next(labels)
        assert worker.live() is None
    clock.advance(STALLED_SECONDS)
    assert worker.live() is None
    clock.advance(1)
    assert "has not turned" in (worker.live() or "")


def test_ten_restarts_with_an_old_file_leave_the_newer_labels(
    broker: InProcessBroker, settings_of: Callable[..., Settings]
) -> None:
    """Two hosts: the worker with the older file is started again and again, and the other's set stays in force.

    host A     red                  (ten restarts)
    host B           blue
    in force   red   blue           blue
    """
    old, newer = settings_of(labels=["red"]), settings_of(labels=["blue"])
    for settings in (old, newer, *[old] * 10):
        with running(broker, settings):
            pass

    sets = control_topic.read(broker, TOPIC, 5)
    assert [label.text for label in sets.config] == ["blue"]
    written = [record.key for record in read_all(broker, [Partition(TOPIC, 0)])]
    assert written.count(b"config") == 2, "each content was written once"
