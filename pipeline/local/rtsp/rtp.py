"""RTP and RTCP packets of an H.264 stream, as bytes (RFC 3550, RFC 6184). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

CLOCK = 90_000
"""RTP clock of video in Hz."""
PAYLOAD_TYPE = 96
WRAP = 2**32

_MAX_PAYLOAD = 1400
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_FU_A = 28


def payloads(nal: bytes) -> Iterator[bytes]:
    """RTP payloads of one NAL unit: the unit itself where it fits, else FU-A fragments (RFC 6184 section 5.8)."""
    if len(nal) <= _MAX_PAYLOAD:
        yield nal
        return
    indicator, kind = (nal[0] & 0xE0) | _FU_A, nal[0] & 0x1F
    body = memoryview(nal)[1:]
    step = _MAX_PAYLOAD - 2
    for start in range(0, len(body), step):
        first = 0x80 if start == 0 else 0
        last = 0x40 if start + step >= len(body) else 0
        yield bytes((indicator, first | last | kind)) + body[start : start + step]


def packets(nals: Sequence[bytes], sequence: int, timestamp: int, ssrc: int) -> list[bytes]:
    """RTP packets of one access unit; the last carries the marker bit. Numbers wrap as their fields do."""
    parts = [part for nal in nals for part in payloads(nal)]
    return [
        struct.pack(
            ">BBHII",
            0x80,
            PAYLOAD_TYPE | (0x80 if number == len(parts) - 1 else 0),
            (sequence + number) % 2**16,
            timestamp % WRAP,
            ssrc,
        )
        + part
        for number, part in enumerate(parts)
    ]


def sender_report(ssrc: int, instant: float, timestamp: int, packets_sent: int, bytes_sent: int) -> bytes:
    """RTCP sender report and source description: `timestamp` is the RTP time of the wall-clock `instant` (seconds)."""
    seconds = int(instant // 1)
    fraction = int((instant - seconds) * WRAP) % WRAP
    report = struct.pack(
        ">BBHIIIIII",
        0x80,
        200,
        6,
        ssrc,
        (seconds + _NTP_EPOCH) % WRAP,
        fraction,
        timestamp % WRAP,
        packets_sent % WRAP,
        bytes_sent % WRAP,
    )
    name = b"actionwire"
    item = bytes((1, len(name))) + name
    chunk = struct.pack(">I", ssrc) + item + b"\0" * (4 - len(item) % 4)
    return report + struct.pack(">BBH", 0x81, 202, len(chunk) // 4) + chunk


def interleaved(channel: int, packet: bytes) -> bytes:
    """A packet as it travels inside the RTSP connection (RFC 2326 section 10.12)."""
    return b"$" + struct.pack(">BH", channel, len(packet)) + packet
