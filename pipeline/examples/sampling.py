"""A clip, or a stretch of what a camera sent, as an example. What cannot be one is refused with the reason.

Pictures are sampled on the tick grid of the deployment, as those of a camera are, and kept as JPEGs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.analysis.ticks import REPLAY_EPOCH_NS
from pipeline.camera.sampling import SampledFrame, sample_file
from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.records.examples import MOST_BYTES, Example, ExamplePicture, encode_example
from pipeline.records.frames import FrameRecord
from pipeline.records.jpeg import encode_jpeg

SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 20.0
LARGEST_FILE = 48 << 20
QUALITIES = (85, 70, 55)
"""Of the JPEGs of a clip, tried in this order until they fit."""
_ENVELOPE = 2048
"""Bytes of a batch around one example."""


def example_of_clip(label: str, file: Path, settings: Settings) -> Example:
    """Sample a clip that shows an action from its beginning to its end.

    Raises ConfigurationError: no file, too large, no video, too short, too long, or too much for one record.
    """
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}; check the path")
    if (size := file.stat().st_size) > LARGEST_FILE:
        raise ConfigurationError(
            f"{file} has {size / 2**20:.0f} MiB, at most {LARGEST_FILE >> 20} are taken; cut the action out of it"
        )
    sampled: list[SampledFrame] = []
    for frame in sample_file(file, label, settings.rate, REPLAY_EPOCH_NS, settings.ingest.short_side):
        if sampled and frame.tick - sampled[0].tick > LONGEST_SECONDS * settings.rate:
            raise ConfigurationError(
                f"{file} is longer than {LONGEST_SECONDS:g} s; an example shows one action from its beginning to its "
                "end: cut it out"
            )
        sampled.append(frame)
    _require_length([frame.tick for frame in sampled], settings.rate, str(file))
    most = _room(settings)
    for quality in QUALITIES:
        pictures = [(frame.tick, 1.0, encode_jpeg(frame.image, quality)) for frame in sampled]
        example = _example(label, settings.rate, pictures, f"clip {file.name}")
        if _size(example) <= most:
            return example
    raise ConfigurationError(
        f"{file} takes {_size(example)} bytes as {len(sampled)} pictures, {most} are taken; cut it shorter, or lower "
        "ingest.short_side"
    )


def example_of_frames(label: str, frames: Sequence[FrameRecord], source: str, settings: Settings) -> Example:
    """Make an example of the frames of one session of a camera, in order of time, as they were published.

    Raises ConfigurationError: too few, too long, or too much for one record.
    """
    _require_length([frame.tick for frame in frames], frames[0].rate if frames else settings.rate, source)
    example = _example(label, frames[0].rate, [(one.tick, one.pixel, one.jpeg) for one in frames], source)
    example = replace(example, camera=frames[0].camera)
    if (size := _size(example)) > (most := _room(settings)):
        raise ConfigurationError(f"{source} takes {size} bytes, {most} are taken; name a shorter stretch")
    return example


def require_different(examples: Iterable[Example], known: Iterable[str]) -> None:
    """Raise ConfigurationError where two examples show the same pictures, or one is known already.

    known: ids of examples. A picture that is counted twice teaches nothing, and leave-one-out would call it perfect.
    """
    seen = dict.fromkeys(known, "an example that is enrolled already")
    for example in examples:
        if (other := seen.get(example.id)) is not None:
            raise ConfigurationError(f"{example.source} shows the same pictures as {other}; leave one of them out")
        seen[example.id] = example.source


def _require_length(ticks: Sequence[int], rate: int, what: str) -> None:
    if not ticks:
        raise ConfigurationError(f"{what} holds no picture; name one that shows the action")
    seconds = (ticks[-1] - ticks[0]) / rate
    if len(ticks) < 2 or seconds < SHORTEST_SECONDS:
        raise ConfigurationError(
            f"{what} shows {len(ticks)} pictures in {seconds:g} s, at least 2 in {SHORTEST_SECONDS:g} s are needed: an "
            "action takes time"
        )
    if seconds > LONGEST_SECONDS:
        raise ConfigurationError(f"{what} is longer than {LONGEST_SECONDS:g} s; name a shorter stretch")


def _example(label: str, rate: int, pictures: Sequence[tuple[int, float, bytes]], source: str) -> Example:
    first = pictures[0][0]
    shown = tuple(ExamplePicture(tick - first, pixel, jpeg) for tick, pixel, jpeg in pictures)
    return Example(label, rate, shown, source)


def _size(example: Example) -> int:
    return len(encode_example(example).value or b"")


def _room(settings: Settings) -> int:
    return min(MOST_BYTES, settings.kafka.max_message_bytes) - _ENVELOPE
