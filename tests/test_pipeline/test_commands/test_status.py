"""`actionwire status`: what a person needs to know at one glance."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from engines.bundle.manifest import Events, EventSettings
from engines.testing import tiny_bundle
from pipeline.analysis.label_set import make
from pipeline.broker import control_topic
from pipeline.broker.contract import Broker
from pipeline.broker.in_process import InProcessBroker
from pipeline.broker.topics import apply_topics
from pipeline.commands import status as status_command
from pipeline.commands.status import bundle, collect, shown
from pipeline.config.settings import Settings
from pipeline.errors import TransientError
from pipeline.records.cameras import STOPPED, CameraStatus, encode_status
from pipeline.records.labels import ConfigLabels
from pipeline.records.wire import Message

HEARD_MS = 1_790_000_120_000
"""When the broker got the newest status of every camera, two minutes after their conditions began."""
NOW_NS = 1_790_000_125_000_000_000

YARD = CameraStatus(
    "yard", "online", 1_790_000_000_000, 1_790_000_000_000, 12.5, 320, 240, "h264", "rtcp", -0.02, 3, "host-1",
    "host-2", None,
)  # fmt: skip
GATE = CameraStatus(
    "gate", "offline", 1_790_000_000_000, None, None, None, None, None, None, None, 0, "host-1", None, "no answer"
)


BY_HAND = Events(
    defaults=EventSettings(
        enter=0.5, exit=0.3, confirm=1, min_seconds=0.0, merge_seconds=1.0, cooldown_seconds=0.0, max_seconds=30.0
    )
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that name a tiny bundle."""
    tiny_bundle(tmp_path / "tiny")
    return Settings.model_validate(
        {
            "worker": {"bundle": str(tmp_path / "tiny")},
            "topics": {"partitions": 4},
            "kafka": {"bootstrap": "in-process"},
        }
    )


@pytest.fixture
def broker(settings: Settings) -> Iterator[Broker]:
    """A cluster with two cameras, one that was removed, one garbage status, one label and a lag of three records."""
    broker = InProcessBroker(now_ms=lambda: HEARD_MS)
    apply_topics(broker, settings)
    producer = broker.producer()
    for message in (
        encode_status(replace(YARD, condition="stalled")),
        encode_status(YARD),
        encode_status(GATE),
        encode_status(replace(GATE, camera="old")),
        Message(b"old", None),
        Message(b"odd", b"garbage"),
    ):
        producer.send("actionwire.cameras", message)
    for number in range(3):
        producer.send("actionwire.frames", Message(b"yard", b"jpeg %d" % number))
    producer.flush(5)
    producer.close()
    control_topic.write(broker, "actionwire.control", [ConfigLabels((make({"text": "a person falls"}),))], 5)
    yield broker
    broker.close()


def test_everything_is_in_the_document(broker: Broker, settings: Settings) -> None:
    """Cameras as compaction leaves them, lag, labels, and whether the bundle is calibrated; it is JSON throughout."""
    found = collect(broker, settings, NOW_NS)

    assert json.loads(json.dumps(found)) == found
    assert [(camera["camera"], camera["condition"]) for camera in found["cameras"]] == [
        ("gate", "offline"),
        ("odd", "unknown"),
        ("yard", "online"),
    ]
    assert {camera["heard_ms"] for camera in found["cameras"]} == {HEARD_MS}
    assert (found["lag"]["records"], len(found["lag"]["partitions"])) == (3, 1)
    assert [label["text"] for label in found["labels"]["labels"]] == ["a person falls"]
    assert (found["bundle"]["name"], found["bundle"]["calibrated"]) == ("tiny", True)


def test_people_see_what_matters(broker: Broker, settings: Settings) -> None:
    """Conditions, faults, conflicts, lag, labels, and a warning where thresholds were not measured."""
    output = io.StringIO()
    found = collect(broker, settings, NOW_NS)
    by_hand = {**found, "bundle": {**found["bundle"], "thresholds": BY_HAND.said}}

    Console(file=output, width=80).print(shown(by_hand, NOW_NS))

    printed = output.getvalue()
    for words in (
        "3 cameras", "online", "2 min", "h264 320x240 12.5/s", "rtcp -0.02 s", "published by host-1 and host-2",
        "no answer", "lag: 3 records", "labels (set 0): a person falls", "bundle tiny@0.1.0", "NOT calibrated",
    ):  # fmt: skip
        assert words in printed, words
    assert max(map(len, printed.splitlines())) <= 80
    assert any(line.split()[:3] == ["yard", "online", "2"] for line in printed.splitlines())


@pytest.mark.parametrize(
    ("last", "condition", "notes"),
    [
        pytest.param(replace(YARD, conflict=None), "unknown", "nothing heard from host-1 for 1 h", id="online"),
        pytest.param(YARD, "unknown", "nothing heard from host-1 for 1 h", id="published twice"),
        pytest.param(GATE, "unknown", "nothing heard from host-1 for 1 h; no answer", id="offline"),
        pytest.param(replace(GATE, last_error=STOPPED), "offline", STOPPED, id="said goodbye"),
    ],
)
def test_an_old_word_says_nothing_of_now(settings: Settings, last: CameraStatus, condition: str, notes: str) -> None:
    """A camera whose ingest has died is unknown, and whoever was to publish it is named; a farewell stays true.

    status   last word | 15 s: online, offline | an hour: unknown
    """
    broker = InProcessBroker(now_ms=lambda: HEARD_MS)
    apply_topics(broker, settings)
    broker.producer().send("actionwire.cameras", encode_status(last))
    output = io.StringIO()

    (fresh,) = collect(broker, settings, (HEARD_MS + 15_000) * 1_000_000)["cameras"]
    found = collect(broker, settings, hour := (HEARD_MS + 3_600_000) * 1_000_000)
    Console(file=output, width=240).print(shown(found, hour))

    (camera,) = found["cameras"]
    assert (fresh["condition"], camera["condition"]) == (last.condition, condition)
    assert camera["since_ms"] == (HEARD_MS if condition == "unknown" else last.since_ms)
    assert f": {notes}" in output.getvalue()
    broker.close()


STATUS = json.loads(encode_status(YARD).value or b"")


@pytest.mark.parametrize(
    "change",
    [
        {"camera": 7},
        {"condition": 7},
        {"condition": "tired"},
        *({"since_ms": value} for value in ("soon", 1e300, float("nan"), -1e20, 10**18)),
        {"fps": "fast"},
        {"fps": float("inf")},
        {"clock": ["rtcp"]},
        {"clock_offset_seconds": "0.1"},
        {"last_error": 7},
        {"last_error": ["x"]},
        {"last_error": "\ud800"},
        {"codec": {}},
        {"width": 0},
    ],
)
def test_a_status_that_is_none_hides_no_other(settings: Settings, change: dict[str, object]) -> None:
    """Its camera is unknown, and why is said; everything can be printed, to a file in any encoding too."""
    broker = InProcessBroker(now_ms=lambda: HEARD_MS)
    apply_topics(broker, settings)
    producer = broker.producer()
    producer.send("actionwire.cameras", Message(b"yard", json.dumps({**STATUS, **change}).encode()))
    producer.send("actionwire.cameras", encode_status(GATE))
    found = collect(broker, settings, NOW_NS)
    Console(file=io.StringIO(), width=200).print(shown(found, NOW_NS))

    assert [(one["camera"], one["condition"]) for one in found["cameras"]] == [("gate", "offline"), ("yard", "unknown")]
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    broker.close()


@pytest.mark.parametrize("sent_ms", [-1, -(10**20), 2**62, 10**18])
def test_a_record_may_say_that_it_was_sent_at_any_time(settings: Settings, sent_ms: int) -> None:
    """A producer gives the time of a record; one that is no time ends no command."""
    broker = InProcessBroker(now_ms=lambda: sent_ms)
    apply_topics(broker, settings)
    broker.producer().send("actionwire.cameras", encode_status(YARD))
    found = collect(broker, settings, NOW_NS)
    Console(file=io.StringIO(), width=200).print(shown(found, NOW_NS))

    assert [one["camera"] for one in found["cameras"]] == ["yard"]
    broker.close()


def test_a_bundle_that_does_not_load_is_said(tmp_path: Path) -> None:
    """A missing or damaged bundle does not hide the rest."""
    path = tmp_path / "tiny"
    tiny_bundle(path)
    (path / "head.onnx").write_bytes(b"tampered")

    assert "head.onnx" in bundle(str(path))["problem"]
    assert "no bundle" in bundle(str(tmp_path / "none"))["problem"]


def test_it_looks_again_until_it_is_interrupted(broker: Broker, settings: Settings) -> None:
    """--watch --json prints one document per line, each of its own look; a broker that is away is no end."""
    away = iter([None, TransientError("Kafka does not answer"), None, KeyboardInterrupt()])
    printed: list[str] = []

    def look(*arguments: object) -> dict[str, object]:
        if (problem := next(away)) is not None:
            raise problem
        return collect(broker, settings, NOW_NS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status_command, "WATCH_SECONDS", 0.0)
        patch.setattr(status_command, "collect", look)
        patch.setattr(status_command.typer, "echo", lambda text, err=False: printed.append(text))
        with pytest.raises(KeyboardInterrupt):
            status_command._watch(broker, settings, Console(file=io.StringIO()), True)

    first, reason, second = printed
    assert json.loads(first) == json.loads(second) and "\n" not in first
    assert reason == "Kafka does not answer"


def test_a_long_camera_and_its_error_fit_eighty_columns(broker: Broker, settings: Settings) -> None:
    """The table never spreads beyond the terminal, however long an id is; the id is folded, not cut."""
    name = "hall-" + "x" * 60
    broker.producer().send("actionwire.cameras", encode_status(replace(GATE, camera=name, last_error="y " * 200)))
    output = io.StringIO()

    Console(file=output, width=80).print(shown(collect(broker, settings, NOW_NS), NOW_NS))

    assert max(map(len, output.getvalue().splitlines())) <= 80
    assert output.getvalue().count("x") >= 60
