"""Reading and writing the control topic.

Writers need no lock: a live label is a record of its own, and the labels of the settings are written only when they
differ from those in force.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

import structlog

from engines.strict_json import short
from pipeline.analysis.label_set import LabelSets, apply, content_of, from_settings
from pipeline.broker.contract import Broker
from pipeline.broker.reading import read_to_end
from pipeline.broker.writing import write_messages
from pipeline.errors import BadRecordError, BrokerTimeout, MessageTooLarge
from pipeline.records.labels import (
    MOST_PARTS,
    ConfigLabels,
    ControlRecord,
    Label,
    PartedLabels,
    decode_control,
    encode_control,
    in_parts,
)
from pipeline.records.wire import Partition, Record

PART_BYTES = (500_000, 100_000, 8_000)
"""Sizes of the parts of a set that is too large for one record, tried in this order."""
TRIES = 5
"""How often the labels of a settings file are written while others' parts come between."""

log = structlog.get_logger()


class ControlReader:
    """Follows the control topic from its beginning. Belongs to one thread; use it in a `with` block."""

    def __init__(self, broker: Broker, topic: str, seen: Callable[[LabelSets], None] | None = None) -> None:
        """Start at the beginning of the topic. seen: called after every record, with the sets then in force."""
        self._partition = Partition(topic, 0)
        self._seen = seen
        self._reader = broker.reader([self._partition])
        self.sets = LabelSets()
        """The label sets after the records read so far."""
        self.passed_over = -1
        """Offset of the newest set that could not be put together from its parts; -1: none."""

    def catch_up(self, seconds: float) -> LabelSets:
        """Read to the present end of the topic. Raises BrokerTimeout when the broker sends nothing for `seconds`."""
        for record in read_to_end(self._reader, seconds):
            self._take(record)
        return self.sets

    def poll(self, seconds: float) -> bool:
        """Wait up to `seconds` for records; True when the labels in force may have changed."""
        before = self.sets.version
        for record in self._reader.read(seconds):
            self._take(record)
        return self.sets.version != before

    @property
    def position(self) -> int:
        """The offset of the next record."""
        return self._reader.positions()[self._partition]

    def close(self) -> None:
        """Release the connection."""
        self._reader.close()

    def __enter__(self) -> ControlReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, record: Record) -> None:
        try:
            content = decode_control(record.key, record.value)
        except BadRecordError as error:
            log.warning(
                "control record ignored",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                key=short(record.key),
                reason=error.reason,
                error=str(error),
            )
            return
        before, self.sets = self.sets, apply(self.sets, content, record.offset)
        if isinstance(content, PartedLabels) and self.sets is before:
            self.passed_over = record.offset
            log.warning("a set of labels lacks parts and is passed over; those in force stay", offset=record.offset)
        if self._seen:
            self._seen(self.sets)


def read(broker: Broker, topic: str, seconds: float) -> LabelSets:
    """The label sets that are in force now. Raises BrokerTimeout, BrokerUnavailable."""
    with ControlReader(broker, topic) as reader:
        return reader.catch_up(seconds)


def write(broker: Broker, topic: str, records: Sequence[ControlRecord], seconds: float) -> int:
    """Write control records in order and return the offset of the last, which is their version.

    Raises BrokerTimeout, BrokerUnavailable, or the error of the broker. Records written before an error stay.
    """
    return write_messages(broker, topic, [encode_control(record) for record in records], seconds)


def _write_config(broker: Broker, topic: str, labels: ConfigLabels, sets: LabelSets, seconds: float) -> int:
    """Write the labels of a settings file as one record, or in parts as large as the broker takes; return the version.

    sets: what is in force; its parts are not touched. Raises MessageTooLarge where they fit in no way.
    """
    with suppress(MessageTooLarge):
        return write(broker, topic, [labels], seconds)
    generation = 0 if sets.generation is None else 1 - sets.generation
    for size in PART_BYTES:
        records = in_parts(labels, content_of(labels.labels), generation, size)
        if records is None:
            continue
        with suppress(MessageTooLarge):
            write(broker, topic, records[:-1], seconds)
            return write(broker, topic, records[-1:], seconds)  # only once all its parts are there
    raise MessageTooLarge(
        f"{len(labels.labels)} labels do not fit into {topic}: at most {MOST_PARTS} parts of what the broker takes; "
        "raise kafka.max_message_bytes and max.message.bytes of the topic, or watch for fewer"
    )


def apply_config(
    broker: Broker, topic: str, labels: Sequence[Label], seconds: float, *, edited: bool = True
) -> LabelSets:
    """Put exactly these labels of a settings file in force. Nothing is written when they already are.

    edited: False for a process that merely starts with them; then a content that was replaced before stays so: see
    `label_set.from_settings`. Returns what is in force afterwards.
    """
    with ControlReader(broker, topic) as reader:
        sets = reader.catch_up(seconds)
        wanted = from_settings(sets, labels, edited=edited)
        tries = 0
        while wanted is not None:
            version = _write_config(broker, topic, wanted, sets, seconds)
            sets = reader.catch_up(seconds)
            if reader.passed_over == version:  # another writer's parts came between ours
                if (tries := tries + 1) == TRIES:
                    raise BrokerTimeout(f"others write labels of their settings to {topic} all the time; try again")
                continue
            # Somebody wrote between our reading and our writing. Compaction would forget theirs, and a process that
            # starts with it would take it for news: so the newest record names it too.
            forgotten = sets.content == content_of(wanted.labels) and set(sets.replaced) - set(wanted.replaced)
            wanted = ConfigLabels(wanted.labels, sets.replaced) if forgotten else None
        return sets
