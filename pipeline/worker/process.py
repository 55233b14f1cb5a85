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

from engines.bundle.store import default_store, followed, watch
from engines.errors import EngineError
from engines.folders import cache_directory
from pipeline.analysis.label_set import LabelSet, collect, make
from pipeline.broker.contract import Broker
from pipeline.broker.control_topic import ControlReader, apply_config
from pipeline.broker.topics import check_topics
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.health import HealthServer, checks
from pipeline.metrics import EngineLabels, WorkerMetrics, new_registry
from pipeline.worker.bundle_swap import BundleSwap, Outcome, follow_store
from pipeline.worker.handover import WorkerContext
from pipeline.worker.label_sync import LabelMarkers, follow
from pipeline.worker.label_views import LabelHistory
from pipeline.worker.model import Model, load_model
from pipeline.worker.worker import Worker

BROKER_SECONDS = 10.0
CONTROL_SECONDS = 30.0

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
) -> None:
    """Turn frames into events until `stop` is set; then commit, leave the group and return.

    slot: stable name of this worker, which decides whose unfinished transaction it aborts when it starts; default: the
    name of the settings, else a fresh one. started: called with the running worker.

    If the settings name a bundle of the store without a version, every version that becomes current is taken up.
    Raises ConfigurationError (also for a bundle that cannot be loaded), TransientError while nothing was reached yet,
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
        history = LabelHistory()
        bundle_swap = stack.enter_context(closing(BundleSwap(_load(settings), history)))
        metrics.engine(_engine_labels(bundle_swap.model))
        control = settings.topics.name("control")
        if wanted := collect(make(one.model_dump()) for one in settings.labels):
            apply_config(broker, control, wanted, CONTROL_SECONDS)
        reader = stack.enter_context(ControlReader(broker, control, history.add))
        reader.catch_up(CONTROL_SECONDS)
        history.caught_up(0, reader.position)
        worker = Worker(WorkerContext(settings, broker, metrics, slot_of(settings, slot)), bundle_swap.equipment)
        running.append(worker)
        metrics.live(worker.live)
        producer = broker.producer()
        stack.callback(producer.close)
        markers = LabelMarkers(producer, settings.topics.name("frames"), worker.labelled)

        def follow_labels(ended: threading.Event) -> None:
            follow(reader, history, bundle_swap.embed, markers, ended, partial(_report_labels, metrics))

        stack.enter_context(_background("labels", follow_labels, worker.end_with))
        if bundle := followed(settings.worker.bundle):

            def follow_bundles(ended: threading.Event) -> None:
                load = partial(Model, settings=settings, cache=cache_directory())
                report = partial(_report_swap, metrics, bundle_swap)
                follow_store(watch(default_store(), bundle), bundle_swap, worker, load, ended, report)

            stack.enter_context(_background("store", follow_bundles, worker.end_with))
        if started:
            started(worker, health)
        worker.run(stop)


def _load(settings: Settings) -> Model:
    """The bundle of the settings. If it cannot be loaded, every start would fail: only a person can mend that."""
    try:
        return load_model(settings, cache=cache_directory())
    except EngineError as error:
        named = settings.worker.bundle
        raise ConfigurationError(f"the bundle {named} (worker.bundle) cannot be loaded: {error}") from error


def _report_labels(metrics: WorkerMetrics, labels: LabelSet) -> None:
    metrics.labels(len(labels.labels))


def _report_swap(metrics: WorkerMetrics, bundle_swap: BundleSwap, outcome: Outcome) -> None:
    metrics.swap(outcome)
    metrics.engine(_engine_labels(bundle_swap.model))


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
