"""Topics and groups of a cluster, by an admin client of kafka-python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import KafkaAdminClient, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.protocol.consumer import IsolationLevel, OffsetSpec

from pipeline.broker.contract import TopicSettings
from pipeline.errors import ConfigurationError
from pipeline.records.wire import Partition

_INSYNC = "min.insync.replicas"


def partition_counts(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, int]:
    """Partition count of each topic that exists."""
    return {name: len(own) for name, own in _partitions(admin, topics).items()}


def delete(admin: KafkaAdminClient, topics: Sequence[str]) -> None:
    """Delete those that exist."""
    if there := [*partition_counts(admin, topics)]:
        admin.delete_topics(there)


def lag(admin: KafkaAdminClient, group: str, topic: str) -> dict[Partition, int]:
    """Records of each partition that the group has not processed. Raises ConfigurationError without the topic."""
    count = partition_counts(admin, [topic]).get(topic)
    if count is None:
        raise ConfigurationError(f"topic {topic} does not exist; create the topics with `actionwire topics`")
    asked = [TopicPartition(topic, number) for number in range(count)]
    committed = admin.list_group_offsets({group: asked})[group]
    first, end = (
        admin.list_partition_offsets(dict.fromkeys(asked, spec), IsolationLevel.READ_COMMITTED)
        for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
    )
    position = {at: found.offset for at, found in committed.items() if found.offset >= 0}
    return {Partition(*at): max(0, end[at].offset - max(first[at].offset, position.get(at, 0))) for at in asked}


def describe(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, TopicSettings]:
    """Partitions, replicas and settings of each topic that exists; replicas of the partition that has fewest."""
    partitions = _partitions(admin, topics)
    if not partitions:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, None) for name in partitions]
    found = admin.describe_configs(asked, config_filter="all")["topic"]
    return {
        name: TopicSettings(
            name,
            len(own),
            {key: str(one["value"]) for key, one in found[name].items()},
            min(len(one["replica_nodes"]) for one in own),
        )
        for name, own in partitions.items()
    }


def ensure(admin: KafkaAdminClient, topics: Sequence[TopicSettings]) -> list[str]:
    """Create what is missing, bring the settings of the others in line; names of what was created."""
    found = _partitions(admin, [topic.name for topic in topics])
    for topic in topics:
        if topic.name in found:
            _check_size(topic, found[topic.name])
    settings = {
        topic.name: {
            name: value
            for name, value in topic.settings.items()
            # an operator gave it more replicas than we know of, and knows how many of them must answer
            if name != _INSYNC or len(found[topic.name][0]["replica_nodes"]) == topic.replication
        }
        for topic in topics
        if topic.name in found
    }
    if existing := {name: own for name, own in settings.items() if own}:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, own) for name, own in existing.items()])
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication,
            "configs": dict(topic.settings),
        }
        for topic in topics
        if topic.name not in found
    }
    if wanted:
        try:
            admin.create_topics(wanted)
        except errors.TopicAlreadyExistsError:
            return ensure(admin, topics)  # somebody else has created it meanwhile
        admin.wait_for_topics(list(wanted))
    return list(wanted)


def _check_size(topic: TopicSettings, partitions: Sequence[dict[str, Any]]) -> None:
    if len(partitions) != topic.partitions:
        raise ConfigurationError(
            f"topic {topic.name} has {len(partitions)} partitions, not {topic.partitions}; a partition count is never "
            "changed: set topics.partitions to what it has, or use another topics.namespace"
        )
    replicas = min(len(one["replica_nodes"]) for one in partitions)
    if replicas < topic.replication:
        raise ConfigurationError(
            f"topic {topic.name} has a replication of {replicas}, not {topic.replication}; add replicas with "
            "kafka-reassign-partitions.sh, or set topics.replication to what it has"
        )


def _partitions(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    described = admin.describe_topics(list(topics)) if topics else []
    return {topic["name"]: topic["partitions"] for topic in described if topic["error_code"] == 0}
