"""The page for publishers of frames: its example runs, and what it publishes is a camera like any other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from pipeline.analysis.ticks import tick_at
from pipeline.broker import connect
from pipeline.broker.partitioning import partition_of
from pipeline.broker.reading import partitions_of, read_to_end
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.local.broker_node import BrokerNode
from pipeline.records import schemas
from pipeline.records.frames import FrameRecord, decode_stream_record
from pipeline.records.jpeg import decode_jpeg
from pipeline.records.wire import Record

PAGE = Path(__file__).parents[2] / "docs/foreign-publishers.md"


@pytest.fixture(scope="module")
def published(broker_node: BrokerNode) -> list[Record]:
    """What the page's example wrote to a topic of four partitions; it waits no time between two pictures."""
    settings = Settings(topics=TopicsSettings(namespace=f"publisher-{os.getpid()}", partitions=4))
    topic = settings.topics.name("frames")
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for shown, here in (
        ("actionwire.frames", topic),
        ("127.0.0.1:9092", broker_node.bootstrap),
        ("time.sleep(1 / RATE)", "time.sleep(0.1)"),
        ("range(40)", "range(12)"),
    ):
        assert shown in code
        code = code.replace(shown, here)
    broker = connect(KafkaSettings(bootstrap=broker_node.bootstrap))
    try:
        apply_topics(broker, settings)
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        reader = broker.reader(partitions_of(broker, topic))
        try:
            return list(read_to_end(reader, 20))
        finally:
            reader.close()
    finally:
        broker.close()


def test_the_example_publishes_frames(published: list[Record]) -> None:
    """Every record is a frame by schema and by our decoder, on its grid, with a picture inside."""
    ticks = []
    for record in published:
        frame = decode_stream_record(record.key, record.value, record.headers)
        assert isinstance(frame, FrameRecord)
        assert decode_jpeg(frame.jpeg).shape == (frame.height, frame.width, 3)
        assert frame.tick == tick_at(frame.capture_ns, frame.rate, frame.camera)
        jsonschema.validate({name: value.decode() for name, value in record.headers}, schemas.schema("frame"))
        ticks.append(frame.tick)
    assert ticks == sorted(set(ticks)) and len(ticks) > 2


def test_the_example_keeps_a_camera_in_its_partition(published: list[Record]) -> None:
    """A client with the usual partitioner puts all of a camera where our own publisher would."""
    assert {record.source.number for record in published} == {partition_of(b"yard", 4)}
