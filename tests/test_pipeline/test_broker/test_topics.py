"""The topics of a deployment."""

import pytest

from pipeline.broker.contract import Broker, TopicSettings
from pipeline.broker.topics import apply_topics, check_topics, topic_settings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.errors import ConfigurationError


def settings(name: str = "a", partitions: int = 3) -> Settings:
    """Settings of a small deployment."""
    return Settings(topics=TopicsSettings(namespace=name, partitions=partitions))


def test_every_topic_is_kept_as_the_design_says() -> None:
    """Frames and events are deleted by age, state and status compacted; only three topics share the partition count."""
    topics = {topic.name: topic for topic in topic_settings(settings())}

    assert {name: topic.partitions for name, topic in topics.items()} == {
        "a.frames": 3,
        "a.events": 3,
        "a.state": 3,
        "a.cameras": 1,
        "a.control": 1,
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
    assert topics["a.dead"].settings["cleanup.policy"] == "delete"


def test_topics_are_created_once(broker: Broker, name: str) -> None:
    """The first call creates all six, the second none; the check then gives the shared partition count."""
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
