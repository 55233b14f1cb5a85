"""A worker process, put together: bundle, labels, metrics, health, and the worker itself."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import structlog

from engines.bundle.files import Bundle
from engines.bundle.store import default_store, followed, put_back, watch
from engines.errors import EngineError
from engines.folders import cache_directory
from pipeline.analysis.label_set import LabelSet
from pipeline.broker.camera_priorities import CameraPriorities, follow_priorities
from pipeline.broker.contract import Broker
from pipeline.broker.control_topic import ControlReader
from pipeline.broker.topics import check_topics
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.examples.topic import examples_of
from pipeline.health import HealthServer, checks
from pipeline.labels.in_settings import LabelsInSettings
from pipeline.labels.reporting import SHOWN_LABELS, LabelReporter, none_usable, shown
from pipeline.metrics import EngineLabels, WorkerMetrics, new_registry
from pipeline.worker.after_swap.put_back import judged
from pipeline.worker.bundle_swap import BundleSwap, Outcome, follow_store
from pipeline.worker.handover import WorkerContext
from pipeline.worker.label_sync import LabelMarkers, follow
from pipeline.worker.label_views import EmbeddingProgress, LabelHistory
from pipeline.worker.model import Model, load_model
from pipeline.worker.worker import Worker

BROKER_SECONDS = 10.0
CONTROL_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""How often the settings file is looked at."""
AT_START = ("source", "rate", "kafka", "topics", "events", "worker", "http", "log")
"""Sections that a worker reads when it starts."""

log = structlog.get_logger(__name__)


def slot_of(settings: Settings, given: str | None) -> str:
    """The given name of a worker, else the one of the settings, else a fresh one."""
    return given or settings.worker.slot or fresh_slot()


def fresh_slot() -> str:
    """A name that no other worker has.

    Host and process are not enough: containers may share a host name, and each numbers its processes from 1.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def run_worker(
    settings: Settings,
    broker: Broker,
    *,
    stop: threading.Event,
    slot: str | None = None,
    started: Callable[[Worker, HealthServer | None], None] | None = None,
    reload: Callable[[], Settings | None] | None = None,
) -> None:
    """Turn frames into events until `stop` is set; then commit, leave the group and return.

    slot: stable name of this worker, which decides whose unfinished transaction it aborts when it starts; default: the
    name of the settings, else a fresh one. started: called with the running worker. reload: gives new settings when
    there are some (`settings_file.FileWatch`); their labels and priorities take effect at once.

    If the settings name a bundle of the store without a version, every version that becomes current is taken up.
    Raises ConfigurationError (also for a bundle that cannot be loaded, and where not one of the labels in force can be
    watched for with it), TransientError while nothing was reached yet,
    FencedError.
    """
    with ExitStack() as stack:
        registry = new_registry()
        metrics = WorkerMetrics(registry, settings.http.per_camera_metrics)
        running: list[Worker] = []
        health = None
        if (port := settings.http.worker_port) is not None:  # before the bundle, so that a port in use is reported soon
            health = HealthServer(settings.http.host, port, registry, *checks(running), command="worker")
            stack.enter_context(health)
            log.info("health and metrics served", url=health.url)
        broker.check(BROKER_SECONDS)
        check_topics(broker, settings)
        history, embedding = LabelHistory(), EmbeddingProgress()
        bundle_swap = stack.enter_context(closing(BundleSwap(_load(settings, embedding, broker), history)))
        metrics.engine(_engine_labels(bundle_swap.model))
        labels = LabelsInSettings(broker, settings)
        stack.callback(labels.close)
        labels.start()
        control = settings.topics.name("control")
        reader = stack.enter_context(ControlReader(broker, control, history.add))
        reader.catch_up(CONTROL_SECONDS)
        history.caught_up(0, reader.position)
        _require_usable(bundle_swap.model, history.newest)
        producer = broker.producer()
        stack.callback(producer.close)
        reporter = LabelReporter(metrics, producer, control, settings.worker.group, lambda: reader.sets.reports)
        context = WorkerContext(
            settings,
            broker,
            metrics,
            slot_of(settings, slot),
            embedding=embedding,
            priorities=CameraPriorities(settings.cameras),
            labels_ready=reporter.ready,
        )
        worker = Worker(context, bundle_swap.equipment)
        running.append(worker)
        metrics.live(worker.live)
        markers = LabelMarkers(producer, settings.topics.name("frames"), worker.labelled)
        report = partial(_report_labels, reporter, bundle_swap, context)
        bodies = {
            "labels": partial(follow, reader, history, bundle_swap.embed, markers, ready=report, rest=bundle_swap.rest),
            "store": _following_store(context, bundle_swap, worker, report),
            "cameras": partial(follow_priorities, broker, settings.topics.name("cameras"), context.priorities),
            "settings": reload and partial(_follow_settings, reload, settings, labels, context.priorities),
        }
        for name, body in bodies.items():
            if body:
                stack.enter_context(_background(name, body, worker.end_with))
        if started:
            started(worker, health)
        worker.run(stop)


def _load(settings: Settings, embedding: EmbeddingProgress, broker: Broker) -> Model:
    """The bundle of the settings. If it cannot be loaded, every start would fail: only a person can mend that."""
    try:
        cache = cache_directory()
        examples = examples_of(broker, settings, cache)
        model = load_model(settings, cache=cache, progress=embedding, examples=examples)
    except EngineError as error:
        named = settings.worker.bundle
        raise ConfigurationError(f"the bundle {named} (worker.bundle) cannot be loaded: {error}") from error
    warn_of_thresholds(model.bundle)
    return model


def warn_of_thresholds(bundle: Bundle) -> None:
    """Say in the log where a bundle's thresholds were not measured: of all its labels, or of some."""
    events = bundle.manifest.events
    if not events.calibrated:
        log.warning("the bundle is not calibrated: its thresholds are set by hand", bundle=bundle.label)
    elif events.uncalibrated:
        log.warning("labels without thresholds of their own", bundle=bundle.label, labels=list(events.uncalibrated))


def _require_usable(model: Model, labels: LabelSet) -> None:
    """A worker that would watch for nothing does not start: a person must change the labels or the bundle.

    One that starts says in one line what it can and cannot watch for.
    """
    manifest, problems, words = model.bundle.manifest, model.check.problems(labels.labels), model.check.words
    if reason := none_usable(labels, problems):
        raise ConfigurationError(reason)
    watched = [label for label in labels.labels if label.id not in problems]
    log.info(
        "watching",
        bundle=f"{manifest.name}@{manifest.version}",
        understands="any words" if words is None else f"a vocabulary of {words} tokens",
        count=len(watched),
        labels=shown(watched),
        cannot_watch_for=dict(list(problems.items())[:SHOWN_LABELS]),
        refused=len(problems),
    )


def _following_store(
    context: WorkerContext, bundle_swap: BundleSwap, worker: Worker, report: Callable[[], None]
) -> Callable[[threading.Event], None] | None:
    """Follow the store where the settings name a bundle without its version; None where they do not."""
    bundle = followed(context.settings.worker.bundle)
    if bundle is None:
        return None
    _count_events(context, *bundle_swap.in_use())
    cache = cache_directory()
    puts_back = context.settings.worker.doubled_events == "put_back"

    def outcome(what: Outcome) -> None:
        context.metrics.swap(what)
        context.metrics.engine(_engine_labels(bundle_swap.model))
        if what == "taken":
            warn_of_thresholds(bundle_swap.model.bundle)
            report()

    def body(ended: threading.Event) -> None:
        examples = examples_of(context.broker, context.settings, cache)
        load = partial(Model, settings=context.settings, cache=cache, progress=context.embedding, examples=examples)
        store = default_store()
        current = judged(
            watch(store, bundle),
            context.event_rate,
            lambda: (bundle_swap.model.bundle, bundle_swap.before),
            context.metrics.doubled,
            (lambda bad, good: put_back(store, bundle, bad=bad, good=good)) if puts_back else None,
        )
        follow_store(current, bundle_swap, worker, load, ended, outcome)

    return body


def _follow_settings(
    reload: Callable[[], Settings | None],
    settings: Settings,
    labels: LabelsInSettings,
    priorities: CameraPriorities,
    ended: threading.Event,
) -> None:
    """Take edits of the settings file over: labels and priorities at once, the rest at the next start."""
    while not ended.wait(LOOK_SECONDS):
        if (changed := reload()) is None:
            continue
        labels.edited(changed)
        priorities.edited(changed.cameras)
        later = [name for name in AT_START if getattr(changed, name) != getattr(settings, name)]
        if later:
            log.warning("changed settings of a worker take effect when it is started again", sections=later)
        settings = changed


def _report_labels(
    reporter: LabelReporter, bundle_swap: BundleSwap, context: WorkerContext, _: LabelSet | None = None
) -> None:
    labels, model = bundle_swap.in_use()
    reporter.report(labels, model.problems(labels.labels), model.bundle.manifest)
    _count_events(context, labels, model)


def _count_events(context: WorkerContext, labels: LabelSet, model: Model) -> None:
    """Have events counted for this bundle and the labels that it watches for, so that a swap can be judged."""
    problems = model.problems(labels.labels)
    context.event_rate.use(model.bundle.manifest.id)
    context.event_rate.watch(label.id for label in labels.labels if label.id not in problems)


def _engine_labels(model: Model) -> EngineLabels:
    info = model.engine.info
    calibrated = model.bundle.manifest.events.calibrated
    return EngineLabels(info.bundle, info.name, info.version, info.backend, info.device, info.precision, calibrated)


@contextmanager
def _background(
    name: str, body: Callable[[threading.Event], None], failed: Callable[[BaseException], None]
) -> Iterator[None]:
    """Run `body` on a thread of its own inside a `with` block; `failed` gets an error that the body did not handle."""
    ended = threading.Event()

    def run() -> None:
        try:
            body(ended)
        except BaseException as error:  # otherwise the worker would go on without new labels or bundles
            failed(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
