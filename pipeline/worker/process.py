"""A worker process, put together: bundle, labels, metrics, health, and the loop."""

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
from pipeline.analysis.label_set import collect, make
from pipeline.broker.contract import Broker
from pipeline.broker.control_topic import ControlReader, apply_config
from pipeline.broker.topics import check_topics
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.health import HealthServer, checks
from pipeline.metrics import EngineLabels, WorkerMetrics, new_registry
from pipeline.worker.bundle_swap import Outcome, Succession, follow_store
from pipeline.worker.label_sync import Announcer, follow
from pipeline.worker.label_views import KnownSets
from pipeline.worker.model import Model, load_model
from pipeline.worker.worker import Worker, no_failure


def slot_of(settings: Settings, given: str | None) -> str:
    """The name that was given, else that of the settings, else a fresh one."""
    return given or settings.worker.slot or fresh_slot()


def fresh_slot() -> str:
    """A name that no other worker has. Host and process alone are not enough: containers share the one and number the
    other alike.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


BROKER_SECONDS = 10.0
CONTROL_SECONDS = 30.0

log = structlog.get_logger(__name__)


def run_worker(
    settings: Settings,
    broker: Broker,
    *,
    stop: threading.Event,
    slot: str | None = None,
    started: Callable[[Worker, HealthServer | None], None] | None = None,
    fail: Callable[[str], None] = no_failure,
) -> None:
    """Turn frames into events until `stop` is set; then commit, leave the group and return.

    slot: stable name of this worker, which decides whose unfinished transaction it aborts at its start; else that of
    the settings, else a fresh one. started: called with the running worker. fail: called at every
    numbered step of commit and assignment, for tests.

    Where the settings name a bundle of the store without its version, whichever becomes current is taken up.
    Raises ConfigurationError, for a bundle that cannot be loaded too, TransientError (nothing was reached yet),
    FencedError.
    """
    with ExitStack() as stack:
        registry = new_registry()
        metrics = WorkerMetrics(registry, settings.http.per_camera_metrics)
        running: list[Worker] = []
        health = None
        if (port := settings.http.worker_port) is not None:  # before the bundle: a port that is taken is said at once
            health = HealthServer(settings.http.host, port, registry, *checks(running), command="worker")
            stack.enter_context(health)
            log.info("health and metrics served", url=health.url)
        broker.check(BROKER_SECONDS)
        check_topics(broker, settings)
        known = KnownSets()
        succession = stack.enter_context(closing(Succession(_load(settings), known)))
        metrics.engine(_engine_labels(succession.model))
        control = settings.topics.name("control")
        if wanted := collect(make(one.model_dump()) for one in settings.labels):
            apply_config(broker, control, wanted, CONTROL_SECONDS)
        reader = stack.enter_context(ControlReader(broker, control, known.seen))
        reader.catch_up(CONTROL_SECONDS)
        known.answer(0, reader.position)
        name = slot_of(settings, slot)
        worker = Worker(settings, broker, succession.equipment, metrics, slot=name, fail=fail)
        running.append(worker)
        metrics.live(worker.live)
        producer = broker.producer()
        stack.callback(producer.close)
        announcer = Announcer(producer, settings.topics.name("frames"), worker.labelled)

        def labelling(ended: threading.Event) -> None:
            follow(reader, known, succession.embed, announcer, ended, lambda labels: metrics.labels(len(labels.labels)))

        stack.enter_context(_background("labels", labelling, worker.end_with))
        if bundle := followed(settings.worker.bundle):

            def renewing(ended: threading.Event) -> None:
                use = partial(Model, settings=settings, cache=cache_directory())
                told = partial(_tell, metrics, succession)
                follow_store(watch(default_store(), bundle), succession, worker, use, ended, told)

            stack.enter_context(_background("store", renewing, worker.end_with))
        if started:
            started(worker, health)
        worker.run(stop)


def _load(settings: Settings) -> Model:
    """The bundle of the settings. What is wrong with it is wrong at every start: only a person can mend it."""
    try:
        return load_model(settings, cache=cache_directory())
    except EngineError as error:
        named = settings.worker.bundle
        raise ConfigurationError(f"the bundle {named} (worker.bundle) cannot be loaded: {error}") from error


def _tell(metrics: WorkerMetrics, succession: Succession, outcome: Outcome) -> None:
    metrics.swap(outcome)
    metrics.engine(_engine_labels(succession.model))


def _engine_labels(model: Model) -> EngineLabels:
    info = model.engine.info
    calibrated = model.bundle.manifest.events.calibrated
    return EngineLabels(info.bundle, info.name, info.version, info.backend, info.device, info.precision, calibrated)


@contextmanager
def _background(
    name: str, body: Callable[[threading.Event], None], failed: Callable[[BaseException], None]
) -> Iterator[None]:
    """Run a body on a thread of its own inside a `with` block; `failed` is told of what it did not expect."""
    ended = threading.Event()

    def run() -> None:
        try:
            body(ended)
        except BaseException as error:  # without this part the worker would go on, deaf to labels or bundles
            failed(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
