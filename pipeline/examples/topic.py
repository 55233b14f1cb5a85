"""Writing, finding and taking back examples on their topic.

    enrol    examples, acknowledged  ->  a label record that names them       so whoever reads the label finds them
    remove   a label record without  ->  tombstones  ->  records that say nothing, until the segment is full

Kafka erases only what lies in a segment that is no longer written. The last step ends that segment, so that the cleaner
of the broker erases the pictures at its next round (`log.cleaner.backoff.ms`, 15 s by default).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import structlog

from engines.strict_json import short
from pipeline.broker.contract import Broker, Reader
from pipeline.broker.reading import read_to_end
from pipeline.broker.topics import EXAMPLES_SEGMENT_BYTES
from pipeline.broker.writing import write_messages
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, BrokerTimeout
from pipeline.examples.encoding import ExampleSource
from pipeline.records.examples import (
    MOST_BYTES,
    Example,
    decode_example,
    encode_example,
    encode_removed,
    fillers,
    is_filler,
    named_by,
)
from pipeline.records.wire import Partition, Record

ExampleName: TypeAlias = tuple[str, str]
"""Id of the label, and of the example."""

READ_SECONDS = 10.0
_LOOK_SECONDS = 0.2

log = structlog.get_logger(__name__)


class ExampleTopic:
    """Finds examples by name. Thread-safe; it remembers where they are, not what they show."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._partition = Partition(topic, 0)
        self._offsets: dict[ExampleName, int] = {}
        self._position = 0
        self._reading = threading.Lock()

    def find(self, wanted: Collection[ExampleName]) -> Iterator[Example]:
        """The examples of these names that are there, in no certain order; one that was removed is left out.

        The topic is read to its end as it is now. Raises BrokerTimeout, BrokerUnavailable.
        """
        with self._reading, closing(self._broker.reader([self._partition])) as reader:
            self._follow(reader)
            for offset in sorted(self._offsets[name] for name in set(wanted) & self._offsets.keys()):
                if (record := self._at(reader, offset)) is not None and (example := _example(record)) is not None:
                    yield example

    def names(self) -> frozenset[ExampleName]:
        """Of all examples that are there now. Raises as `find` does."""
        with self._reading, closing(self._broker.reader([self._partition])) as reader:
            self._follow(reader)
            return frozenset(self._offsets)

    def _follow(self, reader: Reader) -> None:
        _, end = reader.bounds(READ_SECONDS)[self._partition]
        if end < self._position:  # somebody made the topic anew
            self._offsets, self._position = {}, 0
        reader.seek(self._partition, self._position)
        for record in read_to_end(reader, READ_SECONDS):
            self._note(record)
        self._position = reader.positions()[self._partition]

    def _note(self, record: Record) -> None:
        if is_filler(record.key):
            return
        try:
            name = named_by(record.key)
        except BadRecordError as error:
            log.warning("example ignored", offset=record.offset, key=short(record.key), error=str(error))
            return
        self._offsets.pop(name, None)
        if record.value:
            self._offsets[name] = record.offset

    def _at(self, reader: Reader, offset: int) -> Record | None:
        """The record at an offset; None where it was compacted away since."""
        reader.seek(self._partition, offset)
        until = time.monotonic() + READ_SECONDS
        while time.monotonic() < until:
            for record in reader.read(_LOOK_SECONDS, 1):
                return record if record.offset == offset else None
            if reader.positions()[self._partition] > offset:
                return None
        raise BrokerTimeout(
            f"{self._partition.topic}: the broker sent no example for {READ_SECONDS:g} s; see that it runs"
        )


def examples_of(broker: Broker, settings: Settings, cache: Path | None = None) -> ExampleSource:
    """The examples of a deployment. cache: folder in which a worker keeps what it makes of them; None: nowhere."""
    topics = settings.topics
    folder = cache and cache / "examples" / topics.namespace
    return ExampleSource(ExampleTopic(broker, topics.name("examples")).find, folder)


def _example(record: Record) -> Example | None:
    try:
        return decode_example(record.key, record.value)
    except BadRecordError as error:
        log.warning("example ignored", offset=record.offset, key=short(record.key), error=str(error))
        return None


def write_examples(broker: Broker, topic: str, examples: Iterable[Example], seconds: float) -> None:
    """Write examples, at least one, and wait until they are there. Raises as `write_messages` does."""
    write_messages(broker, topic, [encode_example(example) for example in examples], seconds)


def remove_examples(broker: Broker, topic: str, names: Iterable[ExampleName], seconds: float, largest: int) -> None:
    """Take examples back, so that the broker erases their pictures. No label may name them any more.

    largest: bytes of the largest message that the broker takes. Raises as `write_messages` does.
    """
    tombstones = [encode_removed(*name) for name in names]
    if tombstones:
        filling = fillers(EXAMPLES_SEGMENT_BYTES, min(largest, MOST_BYTES))
        write_messages(broker, topic, [*tombstones, *filling], seconds)
