"""A channel that stands on a bundle that says too much goes back to where it came from."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engines.bundle import channels
from engines.bundle.channels import Pointer
from engines.bundle.files import Events, load
from engines.bundle.store import publish
from engines.testing import COLOURS, tiny_bundle
from pipeline.analysis.ticks import tick_ns
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.health import HealthServer
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.worker import bundle_swap
from pipeline.worker.process import run_worker

CAMERAS = 4
FRAMES = 4
SCENE = ("grey",) * 8 + ("cyan",) * 14 + ("grey",) * 14
JPEGS = {name: encode_jpeg(np.full((32, 32, 3), COLOURS[name], np.uint8)) for name in set(SCENE)}

Scrape = Callable[[], dict[str, float]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """0.1.0 is stable; it is looked at all the time."""
    monkeypatch.setenv("ACTIONWIRE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(bundle_swap, "LOOK_SECONDS", 0.02)
    publish(tmp_path / "store", tiny_bundle(tmp_path / "0.1.0", frames=FRAMES))
    return tmp_path / "store"


@pytest.fixture
def chatty(tmp_path: Path) -> Path:
    """0.2.0: every window is an event, for a second, and again."""
    calm = load(tiny_bundle(tmp_path / "calm", frames=FRAMES)).manifest.events.defaults
    always = {"enter": 1e-9, "exit": 5e-10, "confirm": 1, "min_seconds": 0.0, "max_seconds": 1.0}
    defaults = calm.model_copy(update={**always, "merge_seconds": 0.0, "cooldown_seconds": 0.0})
    return tiny_bundle(tmp_path / "0.2.0", frames=FRAMES, version="0.2.0", events=Events(defaults=defaults))


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """A deployment that watches for cyan, with the given worker settings."""
    worker = {"bundle": "tiny", "backend": "onnxruntime", "threads": 1, "start": "begin", "commit_seconds": 0.1}
    return Settings.model_validate(
        {
            "kafka": {"bootstrap": "in-process"},
            "topics": {"partitions": 2},
            "labels": ["cyan"],
            "worker": {**worker, "overload": "queue", **getattr(request, "param", {})},
            "http": {"worker_port": 0},
        }
    )


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    """A broker with the topics of the deployment."""
    broker = connect(KafkaSettings(bootstrap="in-process"))
    apply_topics(broker, settings)
    yield broker
    broker.close()


@pytest.fixture
def scrape(store: Path, settings: Settings, broker: Broker) -> Iterator[Scrape]:
    """A worker that runs until the test is over, by what it counts."""
    stop, served = threading.Event(), list[HealthServer]()

    def started(_: object, health: HealthServer | None) -> None:
        assert health is not None
        served.append(health)

    thread = threading.Thread(target=run_worker, args=(settings, broker), kwargs={"stop": stop, "started": started})
    thread.start()
    wait_until(lambda: served)
    yield lambda: scraped(served[0])
    stop.set()
    thread.join(20)


def scraped(health: HealthServer) -> dict[str, float]:
    """What a worker counts, by name and label values."""
    import urllib.request

    with urllib.request.urlopen(f"{health.url}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return {f"{one.name}{','.join(one.labels.values())}": one.value for one in samples}


def wait_until(so: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def produce(broker: Broker, settings: Settings, ticks: range) -> None:
    """Publish these ticks of every camera, and wait until they are committed."""
    topic, producer = settings.topics.name("frames"), broker.producer()
    for tick in ticks:
        for number in range(CAMERAS):
            jpeg, name = JPEGS[SCENE[tick % len(SCENE)]], f"camera-{number}"
            frame = FrameRecord(name, 1, tick, tick, 4, tick_ns(tick, 4, name), "arrival", 32, 32, jpeg)
            producer.send(topic, encode_stream_record(frame))
    producer.close()
    wait_until(lambda: not any(broker.lag(settings.worker.group, topic, 5.0).values()))


def test_a_bundle_that_doubles_the_rate_of_events_is_put_back(
    store: Path, chatty: Path, settings: Settings, broker: Broker, scrape: Scrape
) -> None:
    """By the worker that took it, which goes back like all that follow the channel; no window is left out.

    stable     0.1.0      | 0.2.0    | 0.1.0
    events     4 a scene  | 40 and more
    """
    produce(broker, settings, range(72))
    publish(store, chatty)
    wait_until(lambda: scrape()["actionwire_swaps_totaltaken"] == 1)
    produce(broker, settings, range(72, 108))
    wait_until(lambda: scrape()["actionwire_swaps_totaltaken"] == 2)
    produce(broker, settings, range(108, 144))
    found = scrape()
    assert channels.read(store, "tiny") == Pointer("0.1.0")
    assert found["actionwire_swaps_totaldoubled"] == 1
    assert found["actionwire_windows_total"] == CAMERAS * (144 - FRAMES + 1)
    assert not any(value for name, value in found.items() if name.startswith("actionwire_dropped_total"))


@pytest.mark.parametrize("settings", [{"doubled_events": "alarm"}], indirect=True)
def test_where_a_person_decides_the_channel_stays(
    store: Path, chatty: Path, settings: Settings, broker: Broker, scrape: Scrape
) -> None:
    """It is counted, for the alert, and nothing else."""
    produce(broker, settings, range(72))
    publish(store, chatty)
    wait_until(lambda: scrape()["actionwire_swaps_totaltaken"] == 1)
    produce(broker, settings, range(72, 108))
    wait_until(lambda: scrape()["actionwire_swaps_totaldoubled"] == 1)
    assert channels.read(store, "tiny") == Pointer("0.2.0", ("0.1.0",))
