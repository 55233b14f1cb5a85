"""Subscribers that share no code with us: the console consumer of Apache Kafka, in Java, and the README's few lines."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from engines.folders import cache_directory
from pipeline.broker import connect
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.local.broker_node import BrokerNode
from pipeline.local.broker_node.java import prepare
from pipeline.records import schemas
from pipeline.records.events import encode_event
from pipeline.records.wire import iso
from pipeline.testing import sample_event

pytestmark = pytest.mark.kafka

EVENT = sample_event(camera="Tür-1")
README = Path(__file__).parents[2] / "README.md"
COMMITTED, ABORTED = (0, 1, 4), (2, 3)


@pytest.fixture(scope="module")
def topic(broker_node: BrokerNode) -> Iterator[str]:
    """An events topic with a committed, an aborted and a committed transaction, all of them in its log."""
    broker = connect(KafkaSettings(bootstrap=broker_node.bootstrap))
    settings = Settings(topics=TopicsSettings(namespace=f"foreign-{os.getpid()}", partitions=1))
    apply_topics(broker, settings)
    name = settings.topics.name("events")
    _write(broker, name, COMMITTED[:2], commit=True)
    _write(broker, name, ABORTED, commit=False)
    _write(broker, name, COMMITTED[2:], commit=True)
    yield name
    broker.close()


def _write(broker: Broker, topic: str, sequences: tuple[int, ...], *, commit: bool) -> None:
    transactions = broker.transactions(f"{topic}-writer", 10.0)
    transactions.begin()
    for sequence in sequences:
        transactions.send(topic, encode_event(replace(EVENT, sequence=sequence), "/actionwire"))
    transactions.offsets(10.0)  # they are in the log now, whatever becomes of the transaction
    if commit:
        transactions.commit()
    else:
        transactions.abort()
    transactions.close()


def console_consumer(node: BrokerNode, topic: str, isolation: str, count: int) -> list[tuple[dict[str, str], str, str]]:
    """(headers, key, value) of what `kafka-console-consumer` prints."""
    options = {
        "--bootstrap-server": node.bootstrap,
        "--topic": topic,
        "--isolation-level": isolation,
        "--max-messages": str(count),
        "--timeout-ms": "30000",
    }
    shown = [f"--property=print.{part}=true" for part in ("key", "headers")]
    arguments = [*(part for pair in options.items() for part in pair), "--from-beginning", *shown]
    command = prepare(cache_directory()).command(
        "org.apache.kafka.tools.consumer.ConsoleConsumer", arguments, flags=["-Dfile.encoding=UTF-8"]
    )
    done = subprocess.run(command, capture_output=True, timeout=120)
    lines = [line.split("\t") for line in done.stdout.decode().splitlines() if line.startswith("ce_")]
    assert lines, done.stderr.decode()[-2000:]
    return [(dict(part.split(":", 1) for part in headers.split(",")), key, value) for headers, key, value in lines]


def test_a_java_console_consumer_reads_our_events(broker_node: BrokerNode, topic: str) -> None:
    """With read_committed it prints the committed events, in order and by their schema, and no aborted one."""
    found = console_consumer(broker_node, topic, "read_committed", len(COMMITTED))
    documents = [json.loads(value) for _, _, value in found]
    assert [document["sequence"] for document in documents] == list(COMMITTED)
    assert all(key == EVENT.camera for _, key, _ in found)
    assert [headers["ce_id"] for headers, _, _ in found] == [f"{EVENT.id}.{sequence}" for sequence in COMMITTED]
    assert all(headers["ce_type"] == "actionwire.action.started" for headers, _, _ in found)
    schema = json.loads((Path(schemas.__file__).parent / "event.schema.json").read_text())
    for document in documents:
        jsonschema.validate(document, schema)


def test_aborted_events_lie_in_the_log_all_the_same(broker_node: BrokerNode, topic: str) -> None:
    """Without read_committed the aborted events are printed too, so the test above hides nothing by accident."""
    found = console_consumer(broker_node, topic, "read_uncommitted", len(COMMITTED) + len(ABORTED))
    assert [json.loads(value)["sequence"] for _, _, value in found] == [0, 1, 2, 3, 4]


def test_the_subscriber_of_the_readme_reads_our_events(broker_node: BrokerNode, topic: str) -> None:
    """The Python lines that the README shows print one line per committed event."""
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for shown, here in (
        ("actionwire.events", topic),
        ("127.0.0.1:9092", broker_node.bootstrap),
        ('"read_committed"', '"read_committed", auto_offset_reset="earliest"'),
    ):
        assert shown in code
        code = code.replace(shown, here)

    command = [sys.executable, "-u", "-X", "utf8", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as subscriber:
        try:
            assert subscriber.stdout is not None
            lines = [subscriber.stdout.readline() for _ in COMMITTED]
        finally:
            subscriber.kill()

    assert lines == [f"started {EVENT.camera} {EVENT.label} {iso(EVENT.start_ns)} {EVENT.peak}\n"] * len(COMMITTED)
