"""Publishes what the cameras show, at a steady pace, whatever happens to the broker."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from footage import Camera

from pipeline.broker.contract import Broker, Producer
from pipeline.errors import ActionwireError
from pipeline.records.frames import EndMarker, StreamRecord, encode_stream_record
from pipeline.records.wire import Message, Partition


class Feeder(threading.Thread):
    """Plays all cameras. A frame that the broker does not take in time is gone; a marker is sent again."""

    def __init__(self, broker: Broker, topic: str, cameras: Sequence[Camera], partitions: int, pace: float) -> None:
        super().__init__(name="feeder", daemon=True)
        self._broker, self._topic, self._cameras, self._partitions = broker, topic, cameras, partitions
        self._period = 1.0 / pace
        self._again: deque[tuple[int, StreamRecord]] = deque()
        self._paused, self._finished = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._pending = 0
        self.sent = 0
        self.failed = 0
        self.ends: dict[int, int] = {}
        """Offset after the last acknowledged record of each partition."""

    def pause(self) -> None:
        """All cameras fall silent."""
        self._paused.set()

    def resume(self) -> None:
        """Go on where the cameras were."""
        self._paused.clear()

    def finish(self) -> None:
        """Publish the last markers, wait until they arrived, and end."""
        self._paused.clear()
        self._finished.set()
        self.join()

    def run(self) -> None:
        """The body of the thread."""
        producer = self._broker.producer()
        due = time.monotonic()
        while not self._finished.is_set():
            due = max(due + self._period, time.monotonic() - 1.0)
            self._finished.wait(max(0.0, due - time.monotonic()))
            self._send_again(producer)
            if not self._paused.is_set():
                for place, camera in enumerate(self._cameras):
                    for record in camera.step():
                        self._send(producer, place % self._partitions, record)
        for place, camera in enumerate(self._cameras):
            for record in camera.finish():
                self._send(producer, place % self._partitions, record)
        while self._pending or self._again:
            time.sleep(0.1)
            self._send_again(producer)
        producer.close()

    def _send_again(self, producer: Producer) -> None:
        for _ in range(len(self._again)):
            self._send(producer, *self._again.popleft())

    def _send(self, producer: Producer, partition: int, record: StreamRecord) -> None:
        def delivered(at: Partition | None, offset: int, error: ActionwireError | None) -> None:
            with self._lock:
                self._pending -= 1
                if error is None and at is not None:
                    self.ends[at.number] = max(self.ends.get(at.number, 0), offset + 1)
                elif isinstance(record, EndMarker):
                    self._again.append((partition, record))
                else:
                    self.failed += 1

        message = encode_stream_record(record)
        with self._lock:
            self._pending += 1
            self.sent += 1
        producer.send(self._topic, Message(message.key, message.value, message.headers, partition), delivered)
