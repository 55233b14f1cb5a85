"""Statuses of other publishers."""

import gc
import time
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import pytest
import structlog

from pipeline.broker.contract import TopicSettings
from pipeline.broker.in_process import InProcessBroker
from pipeline.errors import ConfigurationError
from pipeline.ingest.other_publishers import AHEAD_MS, OtherPublishers
from pipeline.ingest.status import farewell
from pipeline.records.cameras import CameraStatus, encode_status
from pipeline.records.fields import LATEST_SESSION
from pipeline.records.wire import Message

TOPIC = "test.cameras"
STATUS = CameraStatus("door", "online", 0, 5, 25.0, 1, 1, "h264", "rtcp", 0.0, 0, "other", None, None)


@pytest.fixture
def broker() -> InProcessBroker:
    """A broker with the cameras topic."""
    broker = InProcessBroker()
    broker.ensure_topics([TopicSettings(TOPIC, 1)], 5.0)
    return broker


def test_earlier_statuses_are_known_at_once(broker: InProcessBroker) -> None:
    """The topic is read to its end at the start: cameras, the newest session and other publishers are known."""
    producer = broker.producer()
    for session in (5, 9, 7):
        producer.send(TOPIC, encode_status(replace(STATUS, session=session)))

    others = OtherPublishers(broker, TOPIC, "me", 5.0)

    assert (others.cameras, others.last_session("door")) == (["door"], 9)
    assert others.rival("door") == "other"
    assert (others.last_session("yard"), others.rival("yard")) == (0, None)


def test_a_farewell_keeps_the_newest_session(broker: InProcessBroker) -> None:
    """After an orderly end the next process still begins after the sessions that workers know, and has no rival."""
    producer = broker.producer()
    for status in (STATUS, farewell(STATUS, 6, 99)):
        producer.send(TOPIC, encode_status(status))

    others = OtherPublishers(broker, TOPIC, "me", 5.0)

    assert (others.last_session("door"), others.rival("door"), others.cameras) == (6, None, ["door"])


def test_later_statuses_come_with_a_poll(broker: InProcessBroker) -> None:
    """A new publisher is a rival until its camera is removed or it falls silent."""
    others, producer = OtherPublishers(broker, TOPIC, "me", 5.0), broker.producer()
    producer.send(TOPIC, encode_status(STATUS))
    others.poll()
    assert others.rival("door") == "other"
    others.fresh_seconds = -1.0
    assert others.rival("door") is None
    others.fresh_seconds = 5.0
    producer.send(TOPIC, Message(b"door", None))
    others.poll()

    assert others.rival("door") is None


@pytest.mark.parametrize("ours", [-3600.0, 3600.0])
def test_who_is_there_is_decided_by_our_own_clock(
    broker: InProcessBroker, monkeypatch: pytest.MonkeyPatch, ours: float
) -> None:
    """A process whose clock is an hour off is a rival while its statuses come, and none soon after.

    status    x  x  x
    by ours   0  1  2 ......... 10 s       by its own clock an hour earlier, or later
    rival     -------- 5 s --|
    """
    clock = SimpleNamespace(time_ns=lambda: round((time.time() + ours) * 1e9), monotonic=time.monotonic)
    monkeypatch.setattr("pipeline.ingest.other_publishers.time", clock)
    others = OtherPublishers(broker, TOPIC, "me", 5.0)
    broker.producer().send(TOPIC, encode_status(STATUS))
    others.poll()
    assert others.rival("door") == "other"
    ours += 10

    assert others.rival("door") is None


def test_an_earlier_status_is_not_from_the_future(broker: InProcessBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status whose time stamp lies in the future counts as published now, so it is stale after a while."""
    broker.producer().send(TOPIC, encode_status(STATUS))
    behind = 3600.0
    clock = SimpleNamespace(time_ns=lambda: round((time.time() - behind) * 1e9), monotonic=time.monotonic)
    monkeypatch.setattr("pipeline.ingest.other_publishers.time", clock)
    others = OtherPublishers(broker, TOPIC, "me", 5.0)
    behind -= 10

    assert others.rival("door") is None


def test_an_unusable_status_is_logged_and_left_out(broker: InProcessBroker) -> None:
    """A status of an unknown schema does not stop the reading."""
    producer = broker.producer()
    producer.send(TOPIC, Message(b"door", b'{"schema": 99}'))
    producer.send(TOPIC, encode_status(STATUS))
    with structlog.testing.capture_logs() as logs:
        others = OtherPublishers(broker, TOPIC, "me", 5.0)

    assert [line["camera"] for line in logs] == ["door"]
    assert others.last_session("door") == 5


@pytest.mark.parametrize(
    "session", [round(time.time() * 1000) + 2 * AHEAD_MS, LATEST_SESSION - 1], ids=["near", "last"]
)
def test_a_session_of_the_future_is_reported_and_not_outranked(broker: InProcessBroker, session: int) -> None:
    """One forged status would silence its camera for ever: sessions that are newer than it would be no times."""
    now = round(time.time() * 1000)
    producer = broker.producer()
    producer.send(TOPIC, encode_status(replace(STATUS, session=session, publisher="forger")))
    producer.send(TOPIC, encode_status(replace(STATUS, session=now + AHEAD_MS // 2)))
    with structlog.testing.capture_logs() as logs:
        others = OtherPublishers(broker, TOPIC, "me", 5.0)

    assert others.last_session("door") == now + AHEAD_MS // 2
    assert [(one["topic"], one["partition"], one["offset"], one["camera"], one["publisher"]) for one in logs] == [
        (TOPIC, 0, 0, "door", "forger")
    ]


@pytest.mark.parametrize("value", [b"[" * 100_000, b'{"a":' * 100_000, b'{"schema":1,"schema":1}', b"\xff"])
def test_no_status_stops_the_reading(broker: InProcessBroker, value: bytes) -> None:
    """Neither deep nesting nor bytes that are no text; the next status counts."""
    producer = broker.producer()
    producer.send(TOPIC, Message(b"door", value))
    producer.send(TOPIC, Message(b"yard", encode_status(STATUS).value))
    producer.send(TOPIC, encode_status(STATUS))
    with structlog.testing.capture_logs() as logs:
        others = OtherPublishers(broker, TOPIC, "me", 5.0)

    assert [(line["camera"], line["offset"]) for line in logs] == [("door", 0), ("yard", 1)]
    assert (others.last_session("door"), others.last_session("yard")) == (5, 0)


def test_a_missing_topic_is_named() -> None:
    """The message says which topic and which command creates it."""
    with pytest.raises(ConfigurationError, match=r"test\.cameras.*actionwire topics"):
        OtherPublishers(InProcessBroker(), TOPIC, "me", 5.0)


def test_our_own_statuses_make_no_rival_and_are_nobody_elses(broker: InProcessBroker) -> None:
    """What this process wrote comes back; its session is known, and another was never heard of."""
    broker.producer().send(TOPIC, encode_status(replace(STATUS, publisher="me")))

    others = OtherPublishers(broker, TOPIC, "me", 5.0)

    assert (others.last_session("door"), others.rival("door"), others.last_heard_ms("door")) == (5, None, None)


@pytest.mark.parametrize("from_the_start", [True, False], ids=["before the start", "while it runs"])
@pytest.mark.parametrize("name", ["other", "me"], ids=["of others", "of earlier lives that had our name"])
def test_publishers_that_are_gone_take_no_memory(broker: InProcessBroker, from_the_start: bool, name: str) -> None:
    """Every life of an ingest has a name of its own. Thousands of them leave a session, and nothing else.

    In bytes of Python objects, so that it holds on any machine; each status by itself would be about 500.
    """
    lives = 3000
    statuses = [encode_status(replace(STATUS, publisher=f"{name}-{i}", session=1000 + i)) for i in range(lives)]
    others = None if from_the_start else OtherPublishers(broker, TOPIC, "me", 0.0)
    for status in statuses:
        broker.producer().send(TOPIC, status)
    tracemalloc.start()
    try:
        others = others or OtherPublishers(broker, TOPIC, "me", 0.0)
        while others.last_session("door") < 1000 + lives - 1:
            others.poll()
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < lives * 20


def test_however_many_publish_a_camera_few_are_remembered(broker: InProcessBroker) -> None:
    """While all of them are fresh the latest are kept, in the order in which they were heard of."""
    others, producer = OtherPublishers(broker, TOPIC, "me", 3600.0), broker.producer()
    for number in range(100):
        producer.send(TOPIC, encode_status(replace(STATUS, publisher=f"life-{number:02}")))
    others.poll()
    assert others.rival("door") == "life-84"
    producer.send(TOPIC, encode_status(replace(STATUS, publisher="life-84")))
    producer.send(TOPIC, encode_status(replace(STATUS, publisher="life-99-new")))
    others.poll()

    assert others.rival("door") == "life-84"
