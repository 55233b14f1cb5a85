"""The topics of a deployment."""

import dataclasses
import time
from collections.abc import Callable

import pytest

from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.topics import apply_topics, check_topics, compare_topics, topic_settings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.errors import ConfigurationError


def settings(name: str = "a", partitions: int = 3) -> Settings:
    """Settings of a small deployment."""
    return Settings(topics=TopicsSettings(namespace=name, partitions=partitions))


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what a broker learns from its controller a moment after it has answered."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_every_topic_is_kept_as_the_design_says() -> None:
    """Frames and events are deleted by age, state and status compacted; only three topics share the partition count."""
    topics = {topic.name: topic for topic in topic_settings(settings())}

    assert {name: topic.partitions for name, topic in topics.items()} == {
        "a.frames": 3,
        "a.events": 3,
        "a.state": 3,
        "a.cameras": 1,
        "a.control": 1,
        "a.examples": 1,
        "a.dead": 1,
    }
    assert topics["a.frames"].settings["message.timestamp.type"] == "LogAppendTime"
    assert topics["a.frames"].settings["retention.ms"] == str(30 * 60 * 1000)
    assert topics["a.events"].settings["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert topics["a.state"].settings["cleanup.policy"] == "compact"
    assert topics["a.state"].settings["segment.bytes"] == str(16 * 1024 * 1024)
    assert topics["a.state"].settings["segment.ms"] == "60000"
    assert topics["a.cameras"].settings["cleanup.policy"] == "compact"
    assert topics["a.control"].settings["cleanup.policy"] == "compact"
    assert topics["a.examples"].settings["cleanup.policy"] == "compact"
    assert topics["a.examples"].settings["min.cleanable.dirty.ratio"] == "0.0"
    assert topics["a.dead"].settings["cleanup.policy"] == "delete"


def test_topics_are_created_once(broker: Broker, name: str) -> None:
    """The first call creates all seven, the second none; the check then gives the shared partition count."""
    wanted = settings(name)

    assert sorted(apply_topics(broker, wanted)) == sorted(topic.name for topic in topic_settings(wanted))
    assert apply_topics(broker, wanted) == []
    check_topics(broker, wanted)


def test_missing_topics_are_named(broker: Broker, name: str) -> None:
    """Before the topics exist the check names them and the command that makes them."""
    with pytest.raises(ConfigurationError, match=rf"{name}\.frames.*`actionwire topics`"):
        check_topics(broker, settings(name))


def test_unequal_partition_counts_are_refused(broker: Broker, name: str) -> None:
    """Frames, state and events must have equal counts; the error names each topic with its count."""
    wanted = settings(name)
    broker.ensure_topics([TopicSettings(f"{name}.state", 5)], 20)
    others = [topic for topic in topic_settings(wanted) if topic.name != f"{name}.state"]
    broker.ensure_topics(others, 20)

    with pytest.raises(ConfigurationError, match=rf"{name}\.frames has 3.*{name}\.state has 5"):
        check_topics(broker, wanted)


@pytest.mark.parametrize(("replication", "majority"), [(1, "1"), (2, "2"), (3, "2"), (4, "3"), (5, "3")])
def test_what_is_acknowledged_is_kept_by_the_majority(replication: int, majority: str) -> None:
    """Every topic, whatever brokers are lost as long as they are fewer than half."""
    wanted = Settings(topics=TopicsSettings(replication=replication))
    found = {(one.replication, one.settings["min.insync.replicas"]) for one in topic_settings(wanted)}
    assert found == {(replication, majority)}
    assert {one.settings["unclean.leader.election.enable"] for one in topic_settings(wanted)} == {"false"}


def test_frames_may_have_a_replication_of_their_own() -> None:
    """They are the most by far, and the first to expire."""
    wanted = Settings(topics=TopicsSettings(replication=3, frames_replication=1))
    found = {one.name.partition(".")[2]: one for one in topic_settings(wanted)}
    assert found["frames"].replication == 1 and found["frames"].settings["min.insync.replicas"] == "1"
    assert {one.replication for name, one in found.items() if name != "frames"} == {3}


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        ("frames", "compression.type", "zstd"),
        ("state", "compression.type", "producer"),
        ("events", "min.insync.replicas", "2"),
        ("control", "unclean.leader.election.enable", "true"),
        ("dead", "retention.ms", "60000"),
    ],
)
def test_a_topic_that_differs_is_named_until_it_is_brought_in_line(
    broker: Broker, name: str, topic: str, setting: str, value: str
) -> None:
    """With the setting, what it is and what it must be; the others are not."""
    wanted = settings(name, partitions=1)
    apply_topics(broker, wanted)
    assert compare_topics(broker, wanted) == []

    changed = next(one for one in topic_settings(wanted) if one.name == f"{name}.{topic}")
    broker.ensure_topics([dataclasses.replace(changed, settings={**changed.settings, setting: value})], 20)
    found = f"{name}.{topic}: {setting} is {value}, not {changed.settings[setting]}"
    until(lambda: compare_topics(broker, wanted) == [found])

    apply_topics(broker, wanted)
    until(lambda: compare_topics(broker, wanted) == [])


def test_a_topic_that_has_fewer_copies_than_it_must_is_not_touched(broker: Broker, name: str) -> None:
    """With `min.insync.replicas` of three and one replica nothing could be written to it any more."""
    apply_topics(broker, settings(name))
    more = Settings(topics=TopicsSettings(namespace=name, partitions=3, replication=3))

    with pytest.raises(ConfigurationError, match=rf"{name}\.frames has a replication of 1, not 3"):
        apply_topics(broker, more)
    assert f"{name}.events has a replication of 1, not 3" in " ".join(compare_topics(broker, more))
    assert compare_topics(broker, settings(name)) == []
