import struct

from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.rtsp.rtp import interleaved, packets, payloads, sender_report


def reassemble(parts: list[bytes]) -> bytes:
    """A NAL unit from its RTP payloads, as RFC 6184 tells a receiver."""
    if len(parts) == 1:
        return parts[0]
    header = bytes([(parts[0][0] & 0xE0) | (parts[0][1] & 0x1F)])
    return header + b"".join(part[2:] for part in parts)


@given(st.binary(min_size=1, max_size=9000))
def test_a_nal_unit_survives_fragmentation(nal: bytes) -> None:
    """Whatever its length, a NAL unit is whole again after a receiver has put its payloads together."""
    parts = list(payloads(nal))

    assert reassemble(parts) == nal
    assert all(len(part) <= 1400 for part in parts)
    if len(parts) > 1:
        assert [part[1] >> 6 for part in parts] == [2] + [0] * (len(parts) - 2) + [1]


def test_the_last_packet_of_a_picture_carries_the_marker_bit() -> None:
    """Sequence numbers run on over the NAL units of a picture and wrap at 16 bits; only the last has the marker bit."""
    found = [struct.unpack(">BBHII", packet[:12]) for packet in packets([b"\x67a", b"\x65" + b"x" * 3000], 65535, 7, 9)]

    assert [first for first, *_ in found] == [0x80] * 4
    assert [second for _, second, *_ in found] == [96, 96, 96, 96 | 0x80]
    assert [number for _, _, number, *_ in found] == [65535, 0, 1, 2]
    assert {(stamp, source) for *_, stamp, source in found} == {(7, 9)}


def test_time_stamps_wrap_at_32_bits() -> None:
    """A time stamp beyond 2^32 appears reduced, in packets and in reports alike."""
    [packet] = packets([b"\x65x"], 0, 2**32 + 5, 1)

    assert struct.unpack(">I", packet[4:8]) == (5,)
    assert struct.unpack(">I", sender_report(1, 0.0, 2**32 + 5, 0, 0)[16:20]) == (5,)


def test_a_sender_report_pairs_wall_clock_and_rtp_time() -> None:
    """The report holds seconds since 1900 with a fraction, and its length fields match its bytes."""
    report = sender_report(0x01020304, 1_795_234_000.5, 90_000, 3, 400)

    seconds, fraction, stamp, count, size = struct.unpack(">IIIII", report[8:28])
    assert (seconds - 2_208_988_800, fraction, stamp, count, size) == (1_795_234_000, 2**31, 90_000, 3, 400)
    lengths = [struct.unpack(">H", report[2:4])[0], struct.unpack(">H", report[30:32])[0]]
    assert (lengths[0] + 1) * 4 + (lengths[1] + 1) * 4 == len(report)


def test_interleaved_packets_are_framed() -> None:
    """A packet inside the RTSP connection is preceded by a dollar sign, its channel and its length."""
    assert interleaved(1, b"abc") == b"$\x01\x00\x03abc"
