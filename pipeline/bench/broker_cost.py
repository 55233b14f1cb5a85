"""CPU time that the broker's client takes for each frame that is published or read; the broker's own is not in it.

produce     as ingest does: queued as fast as the client takes them, a bounded number in flight
consume     as a worker does that is behind: all that is there, as fast as it comes
paced       as a worker does that keeps up: a poll for the few that came since
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import repeat

from pipeline.broker.contract import Broker, GroupConsumer
from pipeline.errors import BrokerTimeout
from pipeline.records.frames import FrameRecord, encode_stream_record
from pipeline.records.wire import Message

CAMERAS = 37
IN_FLIGHT = 500
POLL_RECORDS = 128
_SECONDS = 60.0


def messages(count: int, size: int) -> list[Message]:
    """Frames of some cameras in turn, with pictures of `size` bytes."""
    picture = bytes(range(256)) * (size // 256 + 1)
    return [
        encode_stream_record(
            FrameRecord(
                f"camera-{number % CAMERAS:02}", 1, number, number, 4, 10**18, "arrival", 224, 224, picture[:size]
            )
        )
        for number in range(count)
    ]


def produce(broker: Broker, topic: str, frames: Sequence[Message]) -> float:
    """CPU seconds of this process for each frame that was acknowledged."""
    free = threading.Semaphore(IN_FLIGHT)
    producer = broker.producer()
    try:
        producer.send(topic, frames[0])
        producer.flush(_SECONDS)
        began = time.process_time()
        for frame in frames:
            if not free.acquire(timeout=_SECONDS):
                raise BrokerTimeout(f"{topic} acknowledged nothing for {_SECONDS:g} s")
            producer.send(topic, frame, lambda *_: free.release())
        producer.flush(_SECONDS)
        return (time.process_time() - began) / len(frames)
    finally:
        producer.close()


def consume(broker: Broker, topic: str, group: str, count: int) -> float:
    """CPU seconds of the reading thread for each of `count` records that are there, read by a new member of a group."""
    consumer = broker.group_consumer(topic, group)
    try:
        _join(consumer, topic, from_end=False)
        began, read, deadline = time.thread_time(), 0, time.monotonic() + _SECONDS
        while read < count:
            read += sum(map(len, consumer.poll(0.2, POLL_RECORDS).records.values()))
            if time.monotonic() > deadline:
                raise BrokerTimeout(f"{topic} gave {read} of {count} records in {_SECONDS:g} s")
        return (time.thread_time() - began) / read
    finally:
        consumer.close()


def consume_paced(
    broker: Broker, topic: str, group: str, frames: Sequence[Message], *, rate: float, seconds: float
) -> float:
    """CPU seconds of the reading thread for each record, while another thread publishes `rate` a second."""
    consumer, stop = broker.group_consumer(topic, group), threading.Event()

    def publish() -> None:
        producer, due = broker.producer(), time.monotonic()
        for frame in (frame for some in repeat(frames) for frame in some):
            due += 1 / rate
            if stop.wait(max(0.0, due - time.monotonic())):
                break
            producer.send(topic, frame)
        producer.close()

    publisher = threading.Thread(target=publish, name="publisher", daemon=True)
    try:
        _join(consumer, topic, from_end=True)
        publisher.start()
        deadline = time.monotonic() + _SECONDS
        while not consumer.poll(0.2, POLL_RECORDS).records:
            if time.monotonic() > deadline:
                raise BrokerTimeout(f"{topic} gave nothing of what is published to it in {_SECONDS:g} s")
        began, read, until = time.thread_time(), 0, time.monotonic() + seconds
        while time.monotonic() < until or not read:
            read += sum(map(len, consumer.poll(0.2, POLL_RECORDS).records.values()))
        return (time.thread_time() - began) / read
    finally:
        stop.set()
        if publisher.is_alive():
            publisher.join()
        consumer.close()


def _join(consumer: GroupConsumer, topic: str, *, from_end: bool) -> None:
    deadline = time.monotonic() + _SECONDS
    while not (assigned := consumer.poll(0.2, POLL_RECORDS).assigned):
        if time.monotonic() > deadline:
            raise BrokerTimeout(f"the group assigned no partition of {topic} in {_SECONDS:g} s")
    for partition, (first, end) in consumer.bounds(assigned, _SECONDS).items():
        consumer.seek(partition, end if from_end else first)
