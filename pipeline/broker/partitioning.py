"""The partition and the size of a message: the same in both brokers and in every Kafka client. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import MessageTooLarge
from pipeline.records.wire import Message

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_WORD = 0xFFFFFFFF

_RECORD_OVERHEAD = 61 + 29
"""Bytes of a record batch header and the upper bound of one record's own fields (Kafka protocol, message format v2)."""
_HEADER_OVERHEAD = 10


def murmur2(data: bytes) -> int:
    """Unsigned 32-bit MurmurHash2 (Austin Appleby) with the seed that Apache Kafka's clients use for keys."""
    length = len(data)
    value = (_SEED ^ length) & _WORD
    whole = length - length % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _MULTIPLIER & _WORD
        word = (word ^ (word >> 24)) * _MULTIPLIER & _WORD
        value = (value * _MULTIPLIER & _WORD) ^ word
    if whole < length:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _WORD
    value = (value ^ (value >> 13)) * _MULTIPLIER & _WORD
    return value ^ (value >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Partition number of a key: murmur2 without its sign bit, modulo the partition count, as in Kafka's default."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def ranges(numbers: Iterable[int]) -> str:
    """Numbers for a person: 0, 1, 2, 5 are `0-2, 5`."""
    spans: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        first, last = spans.pop() if spans and spans[-1][1] == number - 1 else (number, number)
        spans.append((first, max(last, number)))
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def message_bytes(message: Message) -> int:
    """Upper bound of the size of a message on the wire, in a batch of its own."""
    headers = sum(len(name.encode()) + len(value) + _HEADER_OVERHEAD for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers + _RECORD_OVERHEAD


def check_size(message: Message, topic: str, limit: int) -> None:
    """Raise MessageTooLarge when a message exceeds `limit` bytes."""
    size = message_bytes(message)
    if size > limit:
        raise MessageTooLarge(
            f"a message of {size:,} bytes for {topic} exceeds the limit of {limit:,} bytes; send less, or raise "
            "kafka.max_message_bytes here and max.message.bytes on the topic"
        )
