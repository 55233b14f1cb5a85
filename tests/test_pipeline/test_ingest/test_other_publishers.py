"""Statuses of other publishers."""

import time
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
    """The topic is read to its end at the start: the newest session and other publishers are known."""
    producer = broker.producer()
    for session in (5, 9, 7):
        producer.send(TOPIC, encode_status(replace(STATUS, session=session)))

    others = OtherPublishers(broker, TOPIC, "me")

    assert others.last_session("door") == 7
    assert others.rival("door", 5.0) == "other"
    assert (others.last_session("yard"), others.rival("yard", 5.0)) == (0, None)


def test_a_farewell_keeps_the_newest_session(broker: InProcessBroker) -> None:
    """After an orderly end the next process still begins after the sessions that workers know, and has no rival."""
    producer = broker.producer()
    for status in (STATUS, farewell(STATUS, 6, 99)):
        producer.send(TOPIC, encode_status(status))

    others = OtherPublishers(broker, TOPIC, "me")

    assert (others.last_session("door"), others.rival("door", 5.0)) == (6, None)


def test_later_statuses_come_with_a_poll(broker: InProcessBroker) -> None:
    """A new publisher is a rival until its camera is removed or it falls silent."""
    others, producer = OtherPublishers(broker, TOPIC, "me"), broker.producer()
    producer.send(TOPIC, encode_status(STATUS))
    others.poll()
    assert others.rival("door", 5.0) == "other"
    time.sleep(0.02)
    assert others.rival("door", 0.001) is None
    producer.send(TOPIC, Message(b"door", None))
    others.poll()

    assert others.rival("door", 5.0) is None


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
    others = OtherPublishers(broker, TOPIC, "me")
    broker.producer().send(TOPIC, encode_status(STATUS))
    others.poll()
    assert others.rival("door", 5.0) == "other"
    ours += 10

    assert others.rival("door", 5.0) is None


def test_an_earlier_status_is_not_from_the_future(broker: InProcessBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status whose time stamp lies in the future counts as published now, so it is stale after a while."""
    broker.producer().send(TOPIC, encode_status(STATUS))
    behind = 3600.0
    clock = SimpleNamespace(time_ns=lambda: round((time.time() - behind) * 1e9), monotonic=time.monotonic)
    monkeypatch.setattr("pipeline.ingest.other_publishers.time", clock)
    others = OtherPublishers(broker, TOPIC, "me")
    behind -= 10

    assert others.rival("door", 5.0) is None


def test_an_unusable_status_is_logged_and_left_out(broker: InProcessBroker) -> None:
    """A status of an unknown schema does not stop the reading."""
    producer = broker.producer()
    producer.send(TOPIC, Message(b"door", b'{"schema": 99}'))
    producer.send(TOPIC, encode_status(STATUS))
    with structlog.testing.capture_logs() as logs:
        others = OtherPublishers(broker, TOPIC, "me")

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
        others = OtherPublishers(broker, TOPIC, "me")

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
        others = OtherPublishers(broker, TOPIC, "me")

    assert [(line["camera"], line["offset"]) for line in logs] == [("door", 0), ("yard", 1)]
    assert (others.last_session("door"), others.last_session("yard")) == (5, 0)


def test_a_missing_topic_is_named() -> None:
    """The message says which topic and which command creates it."""
    with pytest.raises(ConfigurationError, match=r"test\.cameras.*actionwire topics"):
        OtherPublishers(InProcessBroker(), TOPIC, "me")
