"""The tick grid: from capture time to tick and back (ARCHITECTURE 3a).

Tick k of a camera is the instant (k + phase) / rate of capture time. The phase spreads the cameras of a deployment over
the sampling period, so that they do not all publish at once. It depends on the camera id alone, so any two processes
agree on it.

    rate 4, phase 0.5:   tick     0       1       2       3
                         time  .125s   .375s   .625s   .875s

All arithmetic uses integers: a phase is a number of sixty-fourths, a time is nanoseconds since 1970.
"""

from __future__ import annotations

from zlib import crc32

SECOND = 1_000_000_000
"""Nanoseconds in a second."""

REPLAY_EPOCH_NS = 1_767_225_600 * SECOND
"""Default capture time of the first instant of a recorded video: 2026-01-01T00:00:00Z."""

_STEPS = 64


def phase_steps(camera: str) -> int:
    """Phase of a camera in sixty-fourths of a sampling period, 0 to 63: crc32 of its id modulo 64."""
    return crc32(camera.encode()) % _STEPS


def tick_at(capture_ns: int, rate: int, camera: str) -> int:
    """Tick of the grid that a capture time belongs to: the last tick at or before it.

    A frame captured at or after tick k and before tick k + 1 belongs to tick k.
    """
    # k <= capture * rate - phase, in units of 1 / (64 * 10^9) of a tick
    return (capture_ns * rate * _STEPS - phase_steps(camera) * SECOND) // (_STEPS * SECOND)


def tick_ns(tick: int, rate: int, camera: str) -> int:
    """Instant of a tick in nanoseconds since 1970, rounded up, so that `tick_at(tick_ns(k)) == k`."""
    numerator = (tick * _STEPS + phase_steps(camera)) * SECOND
    return -(-numerator // (rate * _STEPS))
