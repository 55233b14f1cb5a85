"""Batches that cannot be decoded are passed over whole; kafka-python 3.0.12 goes round in one for ever.

Whoever may write to a topic can put such a batch there: compressed by a codec that nobody knows, or with bytes that its
codec does not read, or a header name that is no text. A disk can, too. What lies behind it is of other producers and
other cameras, and must be read.

    offset    0 ....... 39   40 ....... 59   60 .......
    batch     read           undecodable     read
    caller    records        (20, 60)        records
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition, errors
from kafka.consumer.fetcher import Fetcher

from pipeline.records.wire import Partition

_CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_ATTEMPTS = 3
"""A batch whose checksum is wrong is fetched as often: where the network damaged it, the next copy is whole."""

log = structlog.get_logger(__name__)


class UndecodableBatches:
    """What one consumer has passed over since `take`; made for its thread."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._passed: dict[Partition, tuple[int, int]] = {}
        self._attempts: dict[tuple[Partition, int], int] = {}
        consumer._fetcher.PartitionRecords = partial(_Records, self)

    def take(self) -> dict[Partition, tuple[int, int]]:
        """By partition: how many offsets were passed over, and the one behind the last of them."""
        taken, self._passed = self._passed, {}
        return taken

    def fetch_again(self, at: Partition, batch: Any) -> bool:
        """True while another copy of a damaged batch may be whole."""
        tried = self._attempts.pop((at, batch.base_offset), 0) + 1
        if tried < _ATTEMPTS:
            self._attempts[at, batch.base_offset] = tried
        return tried < _ATTEMPTS

    def pass_over(self, at: Partition, batch: Any, due: int, error: Exception) -> None:
        """Note and log that reading goes on behind a batch, of which `due` would have been the next offset."""
        count, _ = self._passed.get(at, (0, 0))
        self._passed[at] = (count + batch.next_offset - due, batch.next_offset)
        codec = _CODECS.get(batch.compression_type, f"unknown codec {batch.compression_type}")
        log.error(
            "a batch cannot be decoded and is passed over",
            topic=at.topic,
            partition=at.number,
            offset=due,
            next=batch.next_offset,
            codec=codec,
            reason=str(error) or type(error).__name__,
            remedy=_remedy(batch, error),
        )


class _Records(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition."""

    def __init__(self, undecodable: UndecodableBatches, *arguments: Any, **named: Any) -> None:
        self._undecodable = undecodable
        self.next_fetch_offset: int
        super().__init__(*arguments, **named)

    def _unpack_records(self, at: TopicPartition, records: Any, *deserializers: Any) -> Iterator[Any]:
        batches = _Batches(records)
        while True:
            try:
                yield from super()._unpack_records(at, batches, *deserializers)
                return
            except Exception as error:
                batch = batches.current
                if batch is None or batch.magic < 2:  # not even its size can be read
                    self.drain()  # the library would go round in what is left of it
                    raise
                if _is_damaged(batch) and self._undecodable.fetch_again(Partition(*at), batch):
                    self.drain()
                    return
                due = max(batch.base_offset, self.fetch_offset, self.next_fetch_offset)
                if due < batch.next_offset:
                    self._undecodable.pass_over(Partition(*at), batch, due, error)
                    self.next_fetch_offset = batch.next_offset


class _Batches:
    """The batches of a fetch, and which of them is being decoded."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.current: Any = None

    def next_batch(self) -> Any:
        self.current = None
        self.current = self._records.next_batch()
        return self.current


def _is_damaged(batch: Any) -> bool:
    """True where its bytes are not those that were written."""
    return not batch._decompressed and not batch.validate_crc()


def _remedy(batch: Any, error: Exception) -> str:
    if isinstance(error, errors.UnsupportedCodecError):
        if batch.compression_type in _CODECS:
            return "run: pip install lz4 python-snappy zstandard"
        return f"have its producer compress by one of {', '.join(_CODECS.values())}"
    if _is_damaged(batch):
        return "its checksum is wrong: look at the disks and the network of the broker"
    return "its producer wrote what it does not say; run `actionwire topics`, which has the broker refuse such batches"
