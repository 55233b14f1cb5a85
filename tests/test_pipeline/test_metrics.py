"""What Prometheus reads: a real scrape of a real server, taken apart by Prometheus' own parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from pipeline.analysis.sessions import DROPPED
from pipeline.health import HealthServer
from pipeline.metrics import (
    DROPS,
    OUTCOMES,
    PHASES,
    THREADS,
    EngineLabels,
    IngestMetrics,
    WorkerMetrics,
    new_registry,
)

Scrape = Callable[[], dict[str, float]]


def well() -> None:
    """A check that finds nothing wrong."""


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of this test alone."""
    return CollectorRegistry()


@pytest.fixture
def scrape(registry: CollectorRegistry) -> Iterator[Scrape]:
    """Scrapes the registry over HTTP; samples by name and labels, as `name{label=value}`."""
    with HealthServer("127.0.0.1", 0, registry, well, well) as server:

        def read() -> dict[str, float]:
            with urlopen(f"{server.url}/metrics", timeout=5) as answer:
                families = text_string_to_metric_families(answer.read().decode())
                return {
                    sample.name
                    + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): sample.value
                    for family in families
                    for sample in family.samples
                    if not sample.name.endswith("_created")
                }

        yield read


def test_a_worker_says_what_it_did(registry: CollectorRegistry, scrape: Scrape) -> None:
    """Everything that a worker counts arrives under its name."""
    metrics = WorkerMetrics(registry)
    metrics.batch({"door": 3, "yard": 2}, windows={"door": 3, "yard": 1})
    metrics.event("started", "door", 0.31)
    metrics.event("ended", "door")
    metrics.dropped("late", 2)
    metrics.dead_letter()
    metrics.transaction("committed")
    metrics.covered(live_seconds=2.0, analysed_seconds=1.5)
    metrics.lag(0.4)
    metrics.assigned(16, waiting=2)
    metrics.swap("refused")
    metrics.doubled()
    metrics.labels(8)
    metrics.relief(3)
    metrics.engine(EngineLabels("b" * 64, "demo", "0.1.0", "openvino", "CPU", "fp32", True))

    found = scrape()

    assert {name: value for name, value in found.items() if value} == {
        "actionwire_frames_total": 5,
        "actionwire_windows_total": 4,
        "actionwire_batch_frames": 5,
        "actionwire_events_total{phase=started}": 1,
        "actionwire_events_total{phase=ended}": 1,
        "actionwire_event_latency_seconds_count": 1,
        "actionwire_event_latency_seconds_sum": 0.31,
        **{
            f"actionwire_event_latency_seconds_bucket{{le={bound}}}": 1
            for bound in ("0.4", "0.5", "0.75", "1.0", "1.5", "2.5", "5.0", "10.0", "30.0", "+Inf")
        },
        "actionwire_dropped_total{reason=late}": 2,
        "actionwire_dead_letters_total": 1,
        "actionwire_transactions_total{outcome=committed}": 1,
        "actionwire_live_seconds_total": 2,
        "actionwire_analysed_seconds_total": 1.5,
        "actionwire_lag_seconds": 0.4,
        "actionwire_assigned_partitions": 16,
        "actionwire_waiting_partitions": 2,
        "actionwire_swaps_total{outcome=refused}": 1,
        "actionwire_swaps_total{outcome=doubled}": 1,
        "actionwire_bundle_refused": 1,
        "actionwire_live": 1,
        "actionwire_labels": 8,
        "actionwire_relief_level": 3,
        "actionwire_engine_info{backend=openvino}{bundle=" + "b" * 64
        + "}{calibrated=yes}{device=CPU}{name=demo}{precision=fp32}{version=0.1.0}": 1,
    }  # fmt: skip


def test_a_thread_is_busy_while_it_has_work_in_hand(registry: CollectorRegistry, scrape: Scrape) -> None:
    """Its time adds up, also where the work fails; every thread has its series from the beginning."""
    metrics = WorkerMetrics(registry)
    assert [scrape()[f"actionwire_busy_seconds_total{{thread={one}}}"] for one in THREADS] == [0] * len(THREADS)
    seen = []
    for _ in range(2):
        with pytest.raises(ValueError, match="work"), metrics.busy("inference"):
            raise ValueError("work")
        seen.append(scrape()["actionwire_busy_seconds_total{thread=inference}"])
    assert 0 < seen[0] < seen[1] and scrape()["actionwire_busy_seconds_total{thread=poll}"] == 0


def test_a_bundle_is_refused_until_another_is_current(registry: CollectorRegistry, scrape: Scrape) -> None:
    """A state, not a moment: it holds until one is taken, or the one in use is current again."""
    metrics = WorkerMetrics(registry)
    for outcome, refused in (("refused", 1), ("refused", 1), ("kept", 0), ("refused", 1), ("taken", 0)):
        metrics.swap(outcome)
        assert scrape()["actionwire_bundle_refused"] == refused
    assert scrape()["actionwire_swaps_total{outcome=refused}"] == 3


def test_a_worker_is_alive_while_its_check_says_so(registry: CollectorRegistry, scrape: Scrape) -> None:
    """What /live says, for Prometheus: the supervisor of a process that hangs sees nothing."""
    metrics, late = WorkerMetrics(registry), list[str]()
    metrics.live(lambda: late[0] if late else None)
    assert scrape()["actionwire_live"] == 1
    late.append("the inference loop has not turned for 60 s")
    assert scrape()["actionwire_live"] == 0


def test_ingest_says_what_it_did(registry: CollectorRegistry, scrape: Scrape) -> None:
    """Frames, drops, reconnects and cameras by condition arrive under their names."""
    metrics = IngestMetrics(registry)
    metrics.published("door", 15_000)
    metrics.dropped("queue")
    metrics.reconnect()
    metrics.unusable("door", "damaged", 3)
    metrics.unusable("yard", "untimed", 1)
    for camera, condition in (("door", "online"), ("yard", "stalled"), ("yard", "offline"), ("gate", "online")):
        metrics.camera(camera, condition)
    metrics.camera("gate", None)

    found = scrape()

    assert {name: value for name, value in found.items() if value} == {
        "actionwire_published_frames_total": 1,
        "actionwire_published_bytes_total": 15_000,
        "actionwire_dropped_total{reason=queue}": 1,
        "actionwire_reconnects_total": 1,
        "actionwire_unusable_pictures_total{kind=damaged}": 3,
        "actionwire_unusable_pictures_total{kind=untimed}": 1,
        "actionwire_cameras{condition=online}": 1,
        "actionwire_cameras{condition=offline}": 1,
    }


def test_series_exist_before_anything_happened(registry: CollectorRegistry, scrape: Scrape) -> None:
    """Every known label value has its series from the start, so a rate over it is 0 and not undefined."""
    WorkerMetrics(registry)
    found = scrape()

    for name, label, values in (
        ("actionwire_events_total", "phase", PHASES),
        ("actionwire_dropped_total", "reason", DROPS),
        ("actionwire_transactions_total", "outcome", OUTCOMES),
    ):
        assert all(found[f"{name}{{{label}={value}}}"] == 0 for value in values)


def test_every_verdict_of_a_session_is_a_known_reason() -> None:
    """The words that sessions drop frames with are in the table, so none of them is counted as `other`."""
    assert set(DROPPED) <= set(DROPS)


def test_labels_stay_bounded(registry: CollectorRegistry, scrape: Scrape) -> None:
    """Unknown stages and reasons share one series each."""
    metrics = WorkerMetrics(registry)
    for number in range(50):
        metrics.dropped(f"because-{number}")
        with metrics.stage(f"stage-{number}"):
            pass

    found = scrape()

    assert found["actionwire_dropped_total{reason=other}"] == 50
    assert found["actionwire_stage_duration_seconds_count{stage=other}"] == 50
    assert not any("because-" in name or "stage-" in name for name in found)


def test_a_failed_stage_counts_too(registry: CollectorRegistry, scrape: Scrape) -> None:
    """The time until an error is time that the stage took."""
    metrics = WorkerMetrics(registry)
    with pytest.raises(RuntimeError), metrics.stage("decode"):
        raise RuntimeError
    metrics.took("decode", 0.25)

    found = scrape()

    assert found["actionwire_stage_duration_seconds_count{stage=decode}"] == 2
    assert found["actionwire_stage_duration_seconds_sum{stage=decode}"] >= 0.25


def test_cameras_have_no_series_unless_asked_for(registry: CollectorRegistry, scrape: Scrape) -> None:
    """By default no camera id becomes a label."""
    WorkerMetrics(registry).batch({"door": 1}, {"door": 1})

    assert not any("door" in name for name in scrape())


def test_series_per_camera_are_capped(registry: CollectorRegistry, scrape: Scrape) -> None:
    """The first cameras get series, later ones do not until one of the first is removed."""
    ingest, worker = IngestMetrics(registry, per_camera=2), WorkerMetrics(CollectorRegistry(), per_camera=1)
    for camera in ("a", "b", "c"):
        ingest.camera(camera, "online")
        ingest.published(camera, 10)
        ingest.unusable(camera, "damaged", int(camera != "b"))
        worker.event("started", camera)
        worker.keep(())
    assert {name for name in scrape() if "{camera=" in name} == {
        "actionwire_camera_up{camera=a}",
        "actionwire_camera_up{camera=b}",
        "actionwire_camera_published_frames_total{camera=a}",
        "actionwire_camera_published_frames_total{camera=b}",
        "actionwire_camera_unusable_pictures_total{camera=a}",
    }

    ingest.camera("a", None)
    ingest.camera("c", "offline")

    found = scrape()
    assert (found["actionwire_camera_up{camera=b}"], found["actionwire_camera_up{camera=c}"]) == (1, 0)
    assert not any("camera=a" in name for name in found)


def test_series_of_cameras_that_left_a_worker_are_freed(registry: CollectorRegistry, scrape: Scrape) -> None:
    """Removed, lost, or given to another worker: the series end, and a new camera gets the place.

    analysed here   a b    a b    b c
    limit 2         a b    a b    b c
    """
    worker = WorkerMetrics(registry, per_camera=2)
    worker.batch({"a": 1, "b": 2, "c": 3}, {})
    worker.keep({"a", "b", "c"})
    assert not any("camera=c" in name for name in scrape())

    worker.keep({"b", "c"})
    worker.batch({"b": 2, "c": 3}, {"b": 1})

    found = scrape()
    assert not any("camera=a" in name for name in found)
    assert found["actionwire_camera_frames_total{camera=b}"] == 4
    assert found["actionwire_camera_frames_total{camera=c}"] == 3
    assert found["actionwire_camera_windows_total{camera=b}"] == 1
    assert found["actionwire_camera_windows_total{camera=c}"] == 0  # it fills none, and an alert can see that


def test_openmetrics_is_served_where_it_is_asked_for(registry: CollectorRegistry) -> None:
    """A scraper that accepts OpenMetrics gets a document that its strict parser takes."""
    WorkerMetrics(registry).batch({"door": 1}, {"door": 1})
    with HealthServer("127.0.0.1", 0, registry, well, well) as server:
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        with urlopen(Request(f"{server.url}/metrics", headers=accept), timeout=5) as answer:
            families = {family.name for family in open_metrics(answer.read().decode())}

    assert "actionwire_stage_duration_seconds" in families


def test_names_follow_the_conventions() -> None:
    """One prefix, base units and a word of help for every metric; the process itself is described too."""
    registries = new_registry(), new_registry()
    WorkerMetrics(registries[0], 1)
    IngestMetrics(registries[1], 1)

    for registry in registries:
        own = [family for family in registry.collect() if not family.name.startswith(("process_", "python_"))]
        assert len(own) < len(list(registry.collect()))
        for family in own:
            assert family.name.startswith("actionwire_")
            assert family.documentation.endswith(".")
            assert not family.name.endswith(("_ms", "_milliseconds", "_minutes", "_kib"))
