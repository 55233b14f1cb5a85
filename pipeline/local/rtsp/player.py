"""Sends one path to one client in real time, faults included."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

from pipeline.local.rtsp import rtp
from pipeline.local.rtsp.media import AccessUnit
from pipeline.local.rtsp.mount import Mount, Segment

_REPORT_SECONDS = 1.0
_STEP_SECONDS = 0.05


class Player:
    """Runs in a thread of its own from PLAY to the end of the connection.

    send: writes bytes to the client; raises OSError when the client is gone or has stopped reading.
    alive: False ends the player.
    """

    def __init__(
        self,
        mount: Mount,
        channels: tuple[int, int],
        send: Callable[[bytes], None],
        stop: threading.Event,
        alive: Callable[[], bool],
    ) -> None:
        self._mount = mount
        self._channels = channels
        self._send = send
        self._stop = stop
        self._alive = alive
        self._ssrc = random.randrange(rtp.WRAP)
        self._sequence = random.randrange(2**16)
        self._packets = 0
        self._pictures_sent = 0
        self._bytes = 0
        self._report_due = 0.0
        self._held: bytes | None = None

    def run(self) -> bool:
        """Play until the client leaves (False), or until the last pass of a path that then closes (True)."""
        now = time.time()
        self._mount.start(now)
        self._report_due = now + self._mount.faults.report_delay
        for segment, number, unit in self._pictures(now):
            if not self._wait(segment.due(number, unit)):
                return False
            self._picture(segment.capture(number, unit), unit)
        while self._mount.then == "silent" and self._running():
            self._stop.wait(_STEP_SECONDS)
        return self._running()

    def _running(self) -> bool:
        return not self._stop.is_set() and self._alive()

    def _pictures(self, now: float) -> Iterator[tuple[Segment, int, AccessUnit]]:
        """Every picture from the next key picture on. A switch to another file starts anew."""
        current = segment = self._mount.segment()
        number, index = segment.start(now)
        if self._mount.faults.joined is not None:
            number, (segment, index) = 0, segment.joined(now, self._mount.faults.joined)
        while self._mount.passes is None or number < self._mount.passes:
            yield segment, number, segment.media.units[index]
            if current is not self._mount.segment():
                current = segment = self._mount.segment()
                number, index = 0, 0
                continue
            index += 1
            if index == len(segment.media.units):
                number, index = number + 1, 0

    def _wait(self, instant: float) -> bool:
        """Wait until a wall-clock instant and send the reports due before it. False when the client has left."""
        while self._running():
            now = time.time()
            if not self._mount.faults.stalled:
                self._report(now)
                if now >= instant:
                    return True
            self._stop.wait(min(max(instant - now, 0.002), _STEP_SECONDS))
        return False

    def _report(self, now: float) -> None:
        faults = self._mount.faults
        if now < self._report_due or not faults.reports:
            return
        self._report_due = now + _REPORT_SECONDS
        timestamp = self._mount.timestamp(now, faults.rtp_jump)
        packet = rtp.sender_report(self._source(), now + faults.report_clock, timestamp, self._packets, self._bytes)
        self._send(rtp.interleaved(self._channels[1], packet))
        if faults.sound:  # its channels are those before the video's, as its description is
            silent = rtp.sender_report((self._source() + 1) % rtp.WRAP, 0.0, 0, 0, 0)
            self._send(rtp.interleaved(self._channels[0] - 1, silent))

    def _source(self) -> int:
        return (self._ssrc + self._mount.faults.ssrc_changes) % rtp.WRAP

    def _picture(self, capture: float, unit: AccessUnit) -> None:
        restamp, zero = self._mount.faults.restamp, self._mount.zero or 0.0
        stamped = capture if restamp is None else zero + restamp(self._pictures_sent, capture - zero)
        self._pictures_sent += 1
        timestamp = self._mount.timestamp(stamped, self._mount.faults.rtp_jump)
        packets = rtp.packets(unit.nals, self._sequence, timestamp, self._source())
        self._sequence = (self._sequence + len(packets)) % 2**16
        self._packets += len(packets)
        self._bytes += sum(len(packet) for packet in packets)
        wire = b"".join(rtp.interleaved(self._channels[0], packet) for packet in self._disturbed(packets))
        if wire:
            self._send(wire)

    def _disturbed(self, packets: list[bytes]) -> Iterator[bytes]:
        """The packets that are sent, in the order in which they are sent."""
        faults, chance = self._mount.faults, self._mount.random.random
        for packet in packets:
            if faults.loss and chance() < faults.loss:
                continue
            if self._held is None and faults.reorder and chance() < faults.reorder:
                self._held = packet
                continue
            yield packet
            if self._held is not None:
                yield self._held
                self._held = None
