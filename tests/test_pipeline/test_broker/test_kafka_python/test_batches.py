"""Batches in every codec of Kafka, whole and damaged, on a real broker.

A broker refuses what its codec does not read, so what is damaged here is damaged on its disk, while it is stopped.
"""

import contextlib
import itertools
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import crc32c
import pytest
from kafka import KafkaProducer
from structlog.testing import capture_logs

from pipeline.broker import connect
from pipeline.broker.contract import Broker, TopicSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.records.wire import Partition

pytestmark = pytest.mark.kafka

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
DAMAGES = ("whole", "undecodable", "bit", "codec")
"""Bytes that the codec does not read, a bit that flipped (its checksum tells), a codec that nobody knows."""
CASES = [case for case in itertools.product(CODECS, DAMAGES) if case != ("none", "undecodable")]
VALUE = b"compressible " * 100
HEADER, LENGTH, CRC, ATTRIBUTES = 61, 8, 17, 21
"""Places in a batch (https://kafka.apache.org/documentation/#recordbatch); the checksum begins at ATTRIBUTES."""


@dataclass(frozen=True)
class Damaged:
    """A broker with a partition for each of CASES."""

    broker: Broker
    topic: str
    group: str


@pytest.fixture(scope="module")
def damaged() -> Iterator[Damaged]:
    """In each partition a record, a batch of three that may be damaged, and a record of somebody else.

    offset   0       1 2 3             4
    batch    plain   a codec, damage   plain
    """
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(BrokerNode(overrides=TEST_OVERRIDES))
        broker = connect(KafkaSettings(bootstrap=node.bootstrap))
        stack.callback(broker.close)
        topic = "codecs"
        broker.ensure_topics([TopicSettings(topic, len(CASES), {"compression.type": "producer"})], 20)
        for codec in CODECS:
            places = [place for place, case in enumerate(CASES) if case[0] == codec]
            foreign(node, topic, "none", places, 1)
            foreign(node, topic, codec, places, 3)
            foreign(node, topic, "none", places, 1)
        node.stop()
        for place, (_, damage) in enumerate(CASES):
            (log,) = (node.home / "data" / f"{topic}-{place}").glob("*.log")
            harm(log, damage)
        node.start()
        broker.check(20)
        yield Damaged(broker, topic, "codecs")


def foreign(node: BrokerNode, topic: str, codec: str, partitions: list[int], count: int) -> None:
    """Send one batch to each partition, as another program would."""
    compression = None if codec == "none" else codec
    with contextlib.closing(
        KafkaProducer(bootstrap_servers=node.bootstrap, compression_type=compression, linger_ms=200)
    ) as producer:
        sent = [producer.send(topic, VALUE, partition=place) for place in partitions for _ in range(count)]
        producer.flush()
        for one in sent:
            one.get(20)


def harm(log: Path, damage: str) -> None:
    """Damage the second batch of a segment."""
    content = bytearray(log.read_bytes())
    start = 12 + int.from_bytes(content[LENGTH : LENGTH + 4], "big")
    end = start + 12 + int.from_bytes(content[start + LENGTH : start + LENGTH + 4], "big")
    if damage == "undecodable":
        content[start + HEADER : end] = b"\xff" * (end - start - HEADER)
    elif damage == "codec":
        content[start + ATTRIBUTES + 1] |= 0x07
    elif damage == "bit":
        content[end - 1] ^= 0x10
    if damage != "bit":
        content[start + CRC : start + CRC + 4] = struct.pack(
            ">I", crc32c.crc32c(bytes(content[start + ATTRIBUTES : end]))
        )
    log.write_bytes(content)


@pytest.fixture(scope="module")
def read(damaged: Damaged) -> tuple[dict[int, list[int]], dict[int, tuple[int, int]], list[dict[str, object]]]:
    """Offsets that a member of a group reads, what it is told of, and what is logged; by partition."""
    records: dict[int, list[int]] = {place: [] for place in range(len(CASES))}
    passed: dict[int, tuple[int, int]] = {}
    deadline = time.monotonic() + 60
    with capture_logs() as logs:
        member = damaged.broker.group_consumer(damaged.topic, damaged.group)
        while any(found[-1:] != [4] for found in records.values()):
            assert time.monotonic() < deadline, records
            polled = member.poll(0.2, 1000)
            for partition in polled.assigned:
                member.seek(partition, 0)
            for partition, some in polled.records.items():
                assert all(record.value == VALUE for record in some)
                records[partition.number] += [record.offset for record in some]
            passed |= {partition.number: found for partition, found in polled.undecodable.items()}
        member.close()
    return records, passed, [dict(one) for one in logs]


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_batch_is_read_or_passed_over_whole(
    case: tuple[str, str], damaged: Damaged, read: tuple[dict[int, list[int]], dict[int, tuple[int, int]], list[dict]]
) -> None:
    """What lies before and behind is read; what cannot be is counted, and said once with place, reason and remedy."""
    records, passed, logs = read
    place, (codec, damage) = CASES.index(case), case
    said = [one for one in logs if one.get("partition") == place]

    if damage == "whole":
        assert records[place] == [0, 1, 2, 3, 4] and place not in passed and not said
        return
    assert records[place] == [0, 4] and passed[place] == (3, 4)
    (line,) = said
    assert (line["topic"], line["offset"], line["next"]) == (damaged.topic, 1, 4)
    assert line["codec"] == (codec if damage != "codec" else "unknown codec 7")
    remedy = {"undecodable": "actionwire topics", "bit": "checksum is wrong", "codec": "none, gzip, snappy, lz4, zstd"}
    assert line["reason"] and remedy[damage] in str(line["remedy"])


def test_a_reader_passes_over_them_too(damaged: Damaged) -> None:
    """Commands, and what a worker restores from, read without a group."""
    places = [Partition(damaged.topic, place) for place in range(len(CASES))]
    reader, found = damaged.broker.reader(places), list[tuple[int, int]]()
    deadline = time.monotonic() + 60
    with capture_logs() as logs:
        while set(reader.positions().values()) != {5}:
            assert time.monotonic() < deadline, reader.positions()
            found += [(record.partition, record.offset) for record in reader.read(0.5)]
    reader.close()

    due = {place: range(5) if damage == "whole" else (0, 4) for place, (_, damage) in enumerate(CASES)}
    assert sorted(found) == [(place, offset) for place, offsets in due.items() for offset in offsets]
    assert sum("passed over" in one["event"] for one in logs) == sum(damage != "whole" for _, damage in CASES)
