"""Partitions of keys and sizes of messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as library_murmur2
from kafka.record.default_records import DefaultRecordBatchBuilder

from pipeline.broker.partitioning import check_size, message_bytes, murmur2, partition_of, ranges
from pipeline.errors import MessageTooLarge
from pipeline.records.wire import Message

VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""Test vectors of Apache Kafka's own client (UtilsTest.testMurmur2), as signed integers."""


@pytest.mark.parametrize("key", VECTORS)
def test_murmur2_of_known_keys(key: bytes) -> None:
    """The hash is the one that Apache Kafka's Java client computes."""
    assert murmur2(key) == VECTORS[key] & 0xFFFFFFFF


@given(st.binary(max_size=60))
def test_murmur2_agrees_with_the_client_library(key: bytes) -> None:
    """Any key hashes as in kafka-python, whose partitioner sends our frames."""
    assert murmur2(key) == library_murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=20), st.integers(1, 4096))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    """The partition is always one that exists."""
    assert 0 <= partition_of(key, partitions) < partitions


@given(
    st.binary(max_size=50),
    st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=20)), max_size=5),
)
def test_size_is_never_less_than_on_the_wire(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """What passes our check is never refused by the client for its size."""
    message = Message(key, value, tuple(headers))

    assert message_bytes(message) >= DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)


def test_too_large_says_how_large_and_what_to_do() -> None:
    """The error names the topic, the size, the limit and both settings that would help."""
    with pytest.raises(MessageTooLarge) as caught:
        check_size(Message(b"k", bytes(2000)), "a.frames", 1000)

    assert "2,091 bytes for a.frames exceeds the limit of 1,000" in str(caught.value)
    assert "kafka.max_message_bytes" in str(caught.value)
    assert "max.message.bytes" in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "words"), [([], ""), ([3], "3"), (range(64), "0-63"), ([5, 1, 0, 2, 5], "0-2, 5"), ([9, 7], "7, 9")]
)
def test_numbers_are_written_as_ranges(numbers: list[int], words: str) -> None:
    """In order, each once, whatever order they come in."""
    assert ranges(numbers) == words
