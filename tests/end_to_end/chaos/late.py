"""A TCP proxy between workers and broker that keeps a request of a transaction, cuts its client, and delivers it later.

    worker                      proxy                        broker
      |-- EndTxn ----------------->| kept
      |<----------- connection cut-|
      |== what the worker makes of it =========================>|
      |-- a later request -------->|-- the EndTxn ------------->|  must be refused: its producer is over
      |                            |-- the later request ------>|

The broker's own address stands in its answers about nodes; there the proxy puts its own. Frames are Kafka's: a size of
four bytes, then API key, version, correlation id and client id (https://kafka.apache.org/protocol).
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import errors
from kafka.protocol.producer import (
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnResponse,
    EndTxnResponse,
    TxnOffsetCommitResponse,
)

END, POSITIONS, OFFSETS, PARTITIONS = 26, 28, 25, 24
_METADATA, _FIND_COORDINATOR = 3, 10
_ANSWERS: dict[int, Any] = {
    END: EndTxnResponse,
    POSITIONS: TxnOffsetCommitResponse,
    OFFSETS: AddOffsetsToTxnResponse,
    PARTITIONS: AddPartitionsToTxnResponse,
}
LOSSES = {"end": (END, POSITIONS, 1), "positions": (POSITIONS, END, 2), "offsets": (OFFSETS, OFFSETS, 2)}
LOSSES["partitions"] = (PARTITIONS, PARTITIONS, 2)
"""What may be lost: its API key, and before which later request of the same worker it arrives: API key, how many of it.

Each place is inside or between the transactions that follow, and after the copy that a client sends which tries again.
"""
FENCED = ("ProducerFencedError", "InvalidProducerEpochError")
_MARKERS_SECONDS = 0.3
"""An EndTxn that the broker has taken needs as long to show."""


@dataclass
class Loss:
    """One request on its way: lost, then late."""

    key: int
    before: int
    count: int
    client: str
    """Part of the client id of whoever sends it."""
    frame: bytes = b""
    answer: str = ""

    def concerns(self, client: str) -> bool:
        """True for requests of that client."""
        return self.client in client


class LateProxy(threading.Thread):
    """Passes everything on. `lose` has it lose the next request of a kind."""

    def __init__(self, upstream: str) -> None:
        super().__init__(name="late-proxy", daemon=True)
        host, _, port = upstream.rpartition(":")
        self._upstream = host, int(port)
        self._loop = asyncio.new_event_loop()
        self._ready, self._arrived = threading.Event(), threading.Event()
        self._port = 0
        self._loss: Loss | None = None
        self.answers: Counter[str] = Counter()
        """What the broker answered to requests that were late."""

    @property
    def address(self) -> str:
        """For clients, once the thread runs."""
        self._ready.wait()
        return f"127.0.0.1:{self._port}"

    def lose(self, kind: str, client: str, seconds: float) -> bool:
        """Lose the next request of a kind that this client sends; wait until it was delivered. False: it never was."""
        self._arrived.clear()
        self._loss = Loss(*LOSSES[kind], client)
        done = self._arrived.wait(seconds)
        self._loss = None
        return done

    def stop(self) -> None:
        """End the thread; connections break."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join()

    def run(self) -> None:
        """The body of the thread."""
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        keys: dict[int, int] = {}
        ways = [
            asyncio.ensure_future(self._requests(reader, up_writer, keys)),
            asyncio.ensure_future(self._answers(up_reader, writer, keys)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for one in (writer, up_writer):
                one.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter, keys: dict[int, int]) -> None:
        async for frame in _frames(reader):
            key, _, correlation, length = struct.unpack_from(">hhih", frame, 4)
            client = frame[14 : 14 + max(0, length)].decode(errors="replace")
            loss = self._loss
            if loss and loss.concerns(client):
                if loss.frame:
                    await self._deliver_before(key, loss)
                elif key == loss.key:
                    loss.frame = frame
                    return
            keys[correlation] = key
            onward.write(frame)
            await onward.drain()

    async def _answers(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter, keys: dict[int, int]) -> None:
        host, port = self._upstream
        theirs, ours = (host.encode() + struct.pack(">i", number) for number in (port, self._port))
        async for frame in _frames(reader):
            if keys.pop(*struct.unpack_from(">i", frame, 4), None) in (_METADATA, _FIND_COORDINATOR):
                frame = frame.replace(theirs, ours)
            onward.write(frame)
            await onward.drain()

    async def _deliver_before(self, key: int, loss: Loss) -> None:
        """Deliver what was lost where its time has come: before this request."""
        loss.count -= key == loss.before
        if loss.count or loss.answer:
            return
        loss.answer = "under way"
        reader, writer = await asyncio.open_connection(*self._upstream)
        writer.write(loss.frame)
        frame = await anext(_frames(reader))
        writer.transport.abort()
        version = struct.unpack_from(">h", loss.frame, 6)[0]
        answer = _ANSWERS[loss.key].decode(frame[4:], version=version, header=True)
        codes = error_codes(answer.to_dict())
        loss.answer = errors.for_code(min(codes)).__name__ if codes else "NoError"
        self.answers[loss.answer] += 1
        if not codes:
            await asyncio.sleep(_MARKERS_SECONDS)
        self._arrived.set()


async def _frames(reader: asyncio.StreamReader):  # type: ignore[no-untyped-def]
    """Whole frames, their sizes included, until the connection ends."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            size = await reader.readexactly(4)
            yield size + await reader.readexactly(int.from_bytes(size, "big"))


def error_codes(answer: Any) -> set[int]:
    """The codes of an answer that say that something failed, at any depth."""
    if isinstance(answer, dict):
        own = {value for name, value in answer.items() if name.endswith("error_code") and value}
        return own.union(*map(error_codes, answer.values()))
    return set().union(*map(error_codes, answer)) if isinstance(answer, list | tuple) else set()
