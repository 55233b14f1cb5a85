"""Every Prometheus metric of the serving side, declared once (ARCHITECTURE 8).

Units are base units, and labels are bounded: a value that is not in a metric's table is counted as `other`. Per-camera
series exist for at most as many cameras as the settings allow, first come, first served; the default is none. The
registry is passed in, so that tests and several workers in one process share no counters. All methods may be called
from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector

STAGES = ("decode", "encode", "embed", "score", "decide", "commit", "restore", "compress")
THREADS = ("poll", "decode", "inference", "concluding")
"""Threads of a worker; several may decode, and their time is added up."""
PHASES = ("started", "updated", "ended")
DROPS = (
    "duplicate",
    "late",
    "superseded",
    "ended",
    "rate",
    "queue",
    "oversized",
    "bad_record",
    "shed",
    "hole",
    "undecodable",
)
"""Why a frame was not analysed. The first five are the verdicts of `pipeline.analysis.sessions`. `queue`: the broker
did not take it in time. `hole`: it expired before it was read. `undecodable`: nobody can decode it, or its batch."""
OUTCOMES = ("committed", "aborted", "fenced")
SWAPS = ("taken", "refused", "doubled")
"""`doubled`: taken, and then found to say more than twice as many events as the bundle before."""
CONDITIONS = ("online", "offline", "stalled")
UNUSABLE = ("damaged", "untimed")
OTHER = "other"

_DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LATENCIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class EngineLabels:
    """Labels of the engine info metric."""

    bundle: str
    name: str
    version: str
    backend: str
    device: str
    precision: str
    calibrated: bool


def new_registry() -> CollectorRegistry:
    """A registry that already has the metrics of the process itself: memory, CPU time, open files, Python version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class _Capped:
    """Cameras that have series of their own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cameras: set[str] = set()
        self._lock = threading.Lock()

    def admits(self, camera: str) -> bool:
        with self._lock:
            if camera not in self._cameras and len(self._cameras) < self._limit:
                self._cameras.add(camera)
            return camera in self._cameras

    def forget(self, camera: str) -> bool:
        with self._lock:
            known = camera in self._cameras
            self._cameras.discard(camera)
            return known

    def besides(self, cameras: Collection[str]) -> list[str]:
        with self._lock:
            return [camera for camera in self._cameras if camera not in cameras]


class _Stages:
    """Durations by stage; shared by worker and ingest."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._durations = Histogram(
            "actionwire_stage_duration_seconds",
            "Time that a stage took.",
            ["stage"],
            buckets=_DURATIONS,
            registry=registry,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside the `with` block as one run of a stage; a failed run counts too."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.took(name, perf_counter() - begun)

    def took(self, name: str, seconds: float) -> None:
        """Count one run of a stage that was measured elsewhere."""
        self._durations.labels(_one_of(name, STAGES)).observe(seconds)


class WorkerMetrics(_Stages):
    """What a worker counts."""

    def __init__(self, registry: CollectorRegistry, per_camera: int = 0) -> None:
        super().__init__(registry)
        self._capped = _Capped(per_camera)
        self._latency = Histogram(
            "actionwire_event_latency_seconds",
            "From the capture of the frame that fired to the event's acknowledgement.",
            buckets=_LATENCIES,
            registry=registry,
        )
        self._frames = Counter("actionwire_frames", "Frames encoded.", registry=registry)
        self._windows = Counter("actionwire_windows", "Windows scored.", registry=registry)
        self._events = _counter(registry, "actionwire_events", "Event messages committed.", "phase", PHASES)
        self._dropped = _counter(registry, "actionwire_dropped", "Frames not analysed.", "reason", (*DROPS, OTHER))
        self._dead = Counter("actionwire_dead_letters", "Records that could not be used.", registry=registry)
        self._transactions = _counter(registry, "actionwire_transactions", "Transactions.", "outcome", OUTCOMES)
        self._analysed = Counter("actionwire_analysed_seconds", "Stream time covered by windows.", registry=registry)
        self._live = Counter("actionwire_live_seconds", "Stream time of live cameras.", registry=registry)
        self._lag = Gauge(
            "actionwire_lag_seconds",
            "Age of the newest frame processed of the partition that is furthest behind; 0 at rest.",
            registry=registry,
        )
        self._batch = Gauge("actionwire_batch_frames", "Frames of the last batch.", registry=registry)
        self._assigned = Gauge("actionwire_assigned_partitions", "Partitions owned and worked on.", registry=registry)
        self._waiting = Gauge("actionwire_waiting_partitions", "Partitions owned, not worked on.", registry=registry)
        self._alive = Gauge("actionwire_live", "1 while /live says so.", registry=registry)
        self._alive.set(1)
        self._refused = Gauge(
            "actionwire_bundle_refused", "1 while the bundle that is current cannot be used.", registry=registry
        )
        self._labels = Gauge("actionwire_labels", "Labels watched for.", registry=registry)
        self._labels_refused = Gauge(
            "actionwire_labels_refused", "Labels in force that cannot be watched for.", registry=registry
        )
        self._busy = _counter(
            registry, "actionwire_busy_seconds", "Time in which a thread had work in hand.", "thread", THREADS
        )
        self._relief = Gauge(
            "actionwire_relief_level",
            "Steps of relief from overload that are taken; 0 leaves nothing out.",
            registry=registry,
        )
        self._engine = Info("actionwire_engine", "The engine in use.", registry=registry)
        self._swaps = _counter(registry, "actionwire_swaps", "Bundles that became current.", "outcome", SWAPS)
        self._camera_frames = Counter(
            "actionwire_camera_frames", "Frames encoded, by camera.", ["camera"], registry=registry
        )
        self._camera_windows = Counter(
            "actionwire_camera_windows", "Windows scored, by camera.", ["camera"], registry=registry
        )
        self._camera_events = Counter(
            "actionwire_camera_events", "Events started, by camera.", ["camera"], registry=registry
        )

    @contextmanager
    def busy(self, thread: str) -> Iterator[None]:
        """A thread has work in hand inside the `with` block, be it that it waits for the broker or for a picture."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._busy.labels(_one_of(thread, THREADS)).inc(perf_counter() - begun)

    def relief(self, level: int) -> None:
        """So many steps of relief from overload are taken from now on."""
        self._relief.set(level)

    def batch(self, frames: Mapping[str, int], windows: Mapping[str, int]) -> None:
        """A batch was processed. frames and windows: encoded frames and scored windows by camera."""
        count = sum(frames.values())
        self._frames.inc(count)
        self._windows.inc(sum(windows.values()))
        self._batch.set(count)
        for camera in {**frames, **windows}:  # one that fills no window has its series too, at zero
            if self._capped.admits(camera):
                self._camera_frames.labels(camera).inc(frames.get(camera, 0))
                self._camera_windows.labels(camera).inc(windows.get(camera, 0))

    def event(self, phase: str, camera: str, latency_seconds: float | None = None) -> None:
        """An event message was committed. latency_seconds: since the capture of the frame that caused it, if any."""
        self._events.labels(phase).inc()
        if latency_seconds is not None:
            self._latency.observe(max(latency_seconds, 0.0))
        if phase == "started" and self._capped.admits(camera):
            self._camera_events.labels(camera).inc()

    def dropped(self, reason: str, count: int = 1) -> None:
        """Frames were not analysed."""
        self._dropped.labels(_one_of(reason, DROPS)).inc(count)

    def dead_letter(self) -> None:
        """A record went to the dead-letter topic."""
        self._dead.inc()

    def transaction(self, outcome: str) -> None:
        """A transaction ended: committed, aborted or fenced."""
        self._transactions.labels(outcome).inc()

    def covered(self, live_seconds: float, analysed_seconds: float) -> None:
        """This much stream time of live cameras passed, and this much of it was analysed."""
        self._live.inc(live_seconds)
        self._analysed.inc(analysed_seconds)

    def lag(self, seconds: float) -> None:
        """Age of the newest frame processed; 0 when everything owned is read to its end."""
        self._lag.set(seconds)

    def assigned(self, partitions: int, waiting: int = 0) -> None:
        """`partitions` are owned and processed now; `waiting` more are owned but not processed yet."""
        self._assigned.set(partitions)
        self._waiting.set(waiting)

    def live(self, check: Callable[[], str | None]) -> None:
        """Call `check` at every scrape; it returns None while the worker is alive."""
        self._alive.set_function(lambda: float(check() is None))

    def labels(self, watched: int, refused: int = 0) -> None:
        """So many labels are watched for now; `refused` more are in force and cannot be."""
        self._labels.set(watched)
        self._labels_refused.set(refused)

    def engine(self, labels: EngineLabels) -> None:
        """This engine is in use from now on."""
        named = {name: str(getattr(labels, name)) for name in labels.__slots__}
        self._engine.info({**named, "calibrated": "yes" if labels.calibrated else "no"})

    def swap(self, outcome: str) -> None:
        """A bundle became current: taken, refused, or kept because it is the one in use."""
        self._refused.set(outcome == "refused")
        if outcome in SWAPS:
            self._swaps.labels(outcome).inc()

    def doubled(self) -> None:
        """The bundle that was taken says more than twice as many events as the one before."""
        self._swaps.labels("doubled").inc()

    def keep(self, cameras: Collection[str]) -> None:
        """This worker now analyses only these cameras: the series of all others end and make room."""
        for camera in self._capped.besides(cameras):
            self._capped.forget(camera)
            for series in (self._camera_frames, self._camera_windows, self._camera_events):
                _remove(series, camera)


class IngestMetrics(_Stages):
    """What ingest counts."""

    def __init__(self, registry: CollectorRegistry, per_camera: int = 0) -> None:
        super().__init__(registry)
        self._capped = _Capped(per_camera)
        self._conditions: dict[str, str] = {}
        self._lock = threading.Lock()
        self._frames = Counter("actionwire_published_frames", "Frames acknowledged by the broker.", registry=registry)
        self._bytes = Counter("actionwire_published_bytes", "JPEG bytes acknowledged by the broker.", registry=registry)
        self._dropped = _counter(registry, "actionwire_dropped", "Frames not published.", "reason", (*DROPS, OTHER))
        self._reconnects = Counter("actionwire_reconnects", "Attempts to reach a camera again.", registry=registry)
        self._unusable = _counter(
            registry, "actionwire_unusable_pictures", "Pictures damaged or without a time stamp.", "kind", UNUSABLE
        )
        self._cameras = _gauge(registry, "actionwire_cameras", "Cameras by condition.", "condition", CONDITIONS)
        self._up = Gauge("actionwire_camera_up", "1 while a camera is online.", ["camera"], registry=registry)
        self._camera_frames = Counter(
            "actionwire_camera_published_frames", "Frames published, by camera.", ["camera"], registry=registry
        )
        self._camera_unusable = Counter(
            "actionwire_camera_unusable_pictures", "Pictures not usable, by camera.", ["camera"], registry=registry
        )

    def published(self, camera: str, size: int) -> None:
        """A frame of `size` bytes was acknowledged."""
        self._frames.inc()
        self._bytes.inc(size)
        if self._capped.admits(camera):
            self._camera_frames.labels(camera).inc()

    def dropped(self, reason: str, count: int = 1) -> None:
        """Frames were not published."""
        self._dropped.labels(_one_of(reason, DROPS)).inc(count)

    def reconnect(self) -> None:
        """Ingest tries to reach a camera again."""
        self._reconnects.inc()

    def unusable(self, camera: str, kind: str, count: int) -> None:
        """Pictures of a camera were damaged, or untimed (they carried no time stamp)."""
        self._unusable.labels(kind).inc(count)
        if count and self._capped.admits(camera):
            self._camera_unusable.labels(camera).inc(count)

    def camera(self, camera: str, condition: str | None) -> None:
        """A camera is online, offline or stalled from now on; None: it was removed."""
        with self._lock:
            if condition is None:
                self._conditions.pop(camera, None)
            else:
                self._conditions[camera] = condition
            for name in CONDITIONS:
                self._cameras.labels(name).set(sum(found == name for found in self._conditions.values()))
        if condition is None:
            if self._capped.forget(camera):
                for series in (self._up, self._camera_frames, self._camera_unusable):
                    _remove(series, camera)
        elif self._capped.admits(camera):
            self._up.labels(camera).set(condition == "online")
            self._camera_frames.labels(camera)  # at zero, where none is published


def _counter(registry: CollectorRegistry, name: str, words: str, label: str, values: tuple[str, ...]) -> Counter:
    """A counter whose series all exist from the beginning, so that a rate over them is never undefined."""
    counter = Counter(name, words, [label], registry=registry)
    for value in values:
        counter.labels(value)
    return counter


def _gauge(registry: CollectorRegistry, name: str, words: str, label: str, values: tuple[str, ...]) -> Gauge:
    gauge = Gauge(name, words, [label], registry=registry)
    for value in values:
        gauge.labels(value)
    return gauge


def _one_of(value: str, known: tuple[str, ...]) -> str:
    return value if value in known else OTHER


def _remove(metric: Counter | Gauge, camera: str) -> None:
    # A camera that was admitted but never counted has no series of this metric.
    with suppress(KeyError):
        metric.remove(camera)
