"""The topics of a deployment: their settings, and a check that a cluster has them as they must be.

frames    delete    N partitions   JPEG frames and markers, by arrival time; half an hour
events    delete    N partitions   events for subscribers; a week
state     compact   N partitions   one record per camera; partition i belongs to frames partition i
cameras   compact   1 partition    last status of every camera
control   compact   1 partition    label sets
examples  compact   1 partition    pictures from which labels are taught; what is removed is erased
dead      delete    1 partition    records that could not be used; a week
"""

from __future__ import annotations

from pipeline.broker.contract import Broker, TopicSettings
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS
_BATCH_OVERHEAD = 4096
_CHANGE_SECONDS = 30.0
_LOOK_UP_SECONDS = 10.0

_KEPT_AS_WRITTEN = {
    # The broker unpacks what others compress: every client can read it, and nothing small unpacks to a gigabyte.
    # JPEGs do not shrink.
    "compression.type": "uncompressed",
    "unclean.leader.election.enable": "false",
}
_SMALL_SEGMENTS = {"segment.bytes": str(16 << 20), "segment.ms": str(_MINUTE_MS), "min.cleanable.dirty.ratio": "0.1"}
"""Kafka never compacts the segment that is being written, and a reader reads whatever is not compacted yet. Small
segments keep that little."""

_FRAMES_SEGMENTS = 6
_FRAMES_PARTITION_BYTES = 4 << 30
"""Bounds the disk when cameras send more than retention by time allows for."""

EXAMPLES_SEGMENT_BYTES = 2 << 20
_SOON_FORGOTTEN = {
    "segment.bytes": str(EXAMPLES_SEGMENT_BYTES),
    "max.compaction.lag.ms": str(10 * _MINUTE_MS),
    "min.cleanable.dirty.ratio": "0.0",
    "delete.retention.ms": str(_DAY_MS),
}
"""Pictures of people that somebody took back: the cleaner waits for no more to gather, and segments are so small that
whoever removes an example can end the one that is written (`pipeline.examples.topic`). Tombstones stay for a day, so
that a reader who began before them learns of them."""

_LABEL_SETS_KEPT = {"min.compaction.lag.ms": str(7 * _DAY_MS)}
"""A worker that resumes behind a change of labels must still find the older set, with which its frames were scored."""


def topic_settings(settings: Settings) -> list[TopicSettings]:
    """Every topic that a deployment needs."""
    topics = settings.topics
    frames_ms = topics.frames_retention_minutes * _MINUTE_MS
    events_ms = topics.events_retention_days * _DAY_MS
    largest = {"max.message.bytes": str(settings.kafka.max_message_bytes + _BATCH_OVERHEAD)}
    frames = {
        "cleanup.policy": "delete",
        # A camera's clock must not steer retention.
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(frames_ms),
        "retention.bytes": str(_FRAMES_PARTITION_BYTES),
        # Only whole closed segments are deleted.
        "segment.ms": str(max(_MINUTE_MS, frames_ms // _FRAMES_SEGMENTS)),
        "segment.bytes": str(64 << 20),
    }
    week = {"cleanup.policy": "delete", "retention.ms": str(events_ms)}
    compacted = {"cleanup.policy": "compact", **_SMALL_SEGMENTS}
    kept: list[tuple[str, int, dict[str, str]]] = [
        (topics.name("frames"), topics.partitions, frames | largest),
        (topics.name("events"), topics.partitions, week | largest),
        (topics.name("state"), topics.partitions, compacted | largest),
        (topics.name("cameras"), 1, compacted),
        (topics.name("control"), 1, compacted | largest | _LABEL_SETS_KEPT),
        (topics.name("examples"), 1, {"cleanup.policy": "compact", **_SOON_FORGOTTEN} | largest),
        (topics.name("dead"), 1, week | largest),
    ]
    replication = {topics.name("frames"): topics.frames_replication or topics.replication}
    return [
        TopicSettings(name, partitions, rules | _protection(copies), copies)
        for name, partitions, rules in kept
        for copies in [replication.get(name, topics.replication)]
    ]


def _protection(replication: int) -> dict[str, str]:
    """A record is acknowledged once the majority has it: so it outlives any broker of a minority."""
    return {**_KEPT_AS_WRITTEN, "min.insync.replicas": str(replication // 2 + 1)}


def apply_topics(broker: Broker, settings: Settings) -> list[str]:
    """Create the missing topics, bring the settings of the others in line, and return the names of those created.

    Raises ConfigurationError when a topic has another partition count: that is never changed.
    """
    return broker.ensure_topics(topic_settings(settings), _CHANGE_SECONDS)


def check_topics(broker: Broker, settings: Settings) -> None:
    """Raise ConfigurationError when a topic is missing, or frames, events and state differ in their partition counts.

    A worker must not start then, because state partition i belongs to frames partition i.
    """
    wanted = [topic.name for topic in topic_settings(settings)]
    counts = broker.partition_counts(wanted, _LOOK_UP_SECONDS)
    if missing := [name for name in wanted if name not in counts]:
        raise ConfigurationError(
            f"topics are missing: {', '.join(missing)}; create them with `actionwire topics`, "
            "or correct topics.namespace"
        )
    names = [settings.topics.name(topic) for topic in ("frames", "events", "state")]
    if len({counts[name] for name in names}) > 1:
        found = ", ".join(f"{name} has {counts[name]}" for name in names)
        raise ConfigurationError(
            f"partition counts differ: {found}; state partition i belongs to frames partition i, so they must be "
            "equal: use another topics.namespace and let `actionwire topics` create them"
        )


def compare_topics(broker: Broker, settings: Settings) -> list[str]:
    """What differs from `topic_settings` on the cluster, a line for each setting; missing topics are left out.

    Somebody may have changed them by hand, or made the topics by other means.
    """
    wanted = topic_settings(settings)
    found = broker.describe_topics([topic.name for topic in wanted], _LOOK_UP_SECONDS)
    return [line for topic in wanted if topic.name in found for line in _differences(topic, found[topic.name])]


def _differences(wanted: TopicSettings, found: TopicSettings) -> list[str]:
    lines = []
    if found.replication != wanted.replication:
        lines.append(
            f"{wanted.name} has a replication of {found.replication}, not {wanted.replication}: change it with "
            "kafka-reassign-partitions.sh, or topics.replication (topics.frames_replication) to what it has"
        )
    lines += [
        f"{wanted.name}: {name} is {found.settings.get(name, 'not known')}, not {value}"
        for name, value in sorted(wanted.settings.items())
        if found.settings.get(name) != value
    ]
    return lines
