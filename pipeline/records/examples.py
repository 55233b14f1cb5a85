"""The examples topic: the pictures from which labels are taught, compacted by key (ARCHITECTURE 5h).

    key                   value
    <label>/<example>     one line of JSON, then the JPEGs that it counts, one behind the other; null once it is removed

The pictures travel, never what a bundle makes of them: a bundle of another space encodes them anew. An example is
named by what it shows, so the same pictures are the same example, and a label that names one means these pictures and
no others.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from engines.canonical import canonical_json
from engines.strict_json import short
from pipeline.errors import BadRecordError
from pipeline.records.fields import LABEL_ID, MAX_CAMERA_ID, LabelId, Rate, Text, checked
from pipeline.records.wire import Message, json_object_of_schema

EXAMPLES_SCHEMA = 1
MOST_BYTES = 1 << 20
"""Of one example."""
MOST_PICTURES = 256
LONGEST_SPAN_SECONDS = 60
FILLER_KEY = b"filler"
_FILLER_FRAME = 1024
"""Bytes of a batch around the value of its only record, generously."""

Ticks: TypeAlias = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Pixel: TypeAlias = Annotated[float, Field(strict=True, ge=0.01, le=100, allow_inf_nan=False)]
ExampleId: TypeAlias = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{16}$")]
_KEY = re.compile(rf"(?P<label>{LABEL_ID.strip('^$')})/(?P<example>[0-9a-f]{{16}})")


@dataclass(frozen=True, slots=True)
class ExamplePicture:
    """One picture of an example."""

    tick: Ticks
    """Ticks since the first picture, on the grid of the example's rate."""
    pixel: Pixel
    """Width of a pixel of the scene by its height; 1 where the shape was kept."""
    jpeg: Annotated[bytes, Field(strict=True, min_length=1, max_length=MOST_BYTES)] = field(repr=False)


@dataclass(frozen=True)
class Example:
    """A stretch of video that shows the action of a label, or what the label is not."""

    label: LabelId
    rate: Rate
    """Ticks per second."""
    pictures: Annotated[tuple[ExamplePicture, ...], Field(min_length=1, max_length=MOST_PICTURES)]
    """In order of time."""
    source: Annotated[Text, Field(max_length=500)] = ""
    """Where it comes from, in words for people."""
    camera: Annotated[Text, Field(max_length=MAX_CAMERA_ID)] = ""
    """The camera that saw it; empty for a clip."""

    @cached_property
    def id(self) -> str:
        """Names what it shows: 16 hexadecimal digits."""
        shown = canonical_json([self.rate, *([one.tick, one.pixel, len(one.jpeg)] for one in self.pictures)])
        return hashlib.sha256(b"".join([shown, *(one.jpeg for one in self.pictures)])).hexdigest()[:16]

    @property
    def seconds(self) -> float:
        """From the first picture to the end of the last one's tick."""
        return (self.pictures[-1].tick + 1) / self.rate


def example_key(label: str, example: str) -> bytes:
    """The key of an example's record."""
    return f"{label}/{example}".encode()


def named_by(key: bytes | None) -> tuple[str, str]:
    """The label and the example that a key names. Raises BadRecordError."""
    found = _KEY.fullmatch((key or b"").decode(errors="replace"))
    if found is None:
        raise BadRecordError("key", f"record of unknown key {short(key)} among examples, expected <label>/<example>")
    return found["label"], found["example"]


def encode_example(example: Example) -> Message:
    """Put an example into wire form. Equal examples have equal bytes."""
    document = {
        "schema": EXAMPLES_SCHEMA,
        "rate": example.rate,
        "source": example.source,
        "pictures": [{"tick": one.tick, "pixel": one.pixel, "bytes": len(one.jpeg)} for one in example.pictures],
        **({"camera": example.camera} if example.camera else {}),
    }
    value = b"".join([canonical_json(document), b"\n", *(one.jpeg for one in example.pictures)])
    return Message(example_key(example.label, example.id), value, partition=0)


def encode_removed(label: str, example: str) -> Message:
    """The record that removes an example: once the topic is compacted, nothing of it is left."""
    return Message(example_key(label, example), None, partition=0)


def fillers(total: int, largest: int) -> list[Message]:
    """Records of at least `total` bytes together, each at most `largest`, that say nothing.

    Kafka erases nothing from the segment that is being written; these end it.
    """
    size = largest - _FILLER_FRAME
    return [Message(FILLER_KEY, bytes(size), partition=0)] * -(-total // size)


def is_filler(key: bytes | None) -> bool:
    """True for the key of a record that says nothing."""
    return key == FILLER_KEY


def decode_example(key: bytes | None, value: bytes | None) -> Example:
    """Read an example; unknown fields are ignored.

    Raises BadRecordError: a key that names none, another schema, a field of another type or out of range, pictures that
    do not fit the bytes that follow, or that are others than the key names.
    """
    label, named = named_by(key)
    what = f"example {label}/{named}"
    head, line_end, pictures = (value or b"").partition(b"\n")
    document = json_object_of_schema(head, EXAMPLES_SCHEMA, what)
    if not line_end:
        raise BadRecordError("fields", f"{what} has no pictures")
    listed = document.get("pictures")
    if not isinstance(listed, list) or len(listed) > MOST_PICTURES:
        raise BadRecordError("fields", f"{what}: 'pictures' must be a list of at most {MOST_PICTURES}")
    fields = {
        "label": label,
        "rate": document.get("rate"),
        "source": document.get("source", ""),
        "camera": document.get("camera", ""),
        "pictures": tuple(_cut(listed, pictures, what)),
    }
    example: Example = checked(Example, fields, what)
    ticks = [one.tick for one in example.pictures]
    if ticks[0] or ticks != sorted(set(ticks)) or ticks[-1] > LONGEST_SPAN_SECONDS * example.rate:
        raise BadRecordError(
            "fields", f"{what}: ticks must rise from 0, to at most {LONGEST_SPAN_SECONDS} seconds after the first"
        )
    if example.id != named:
        raise BadRecordError("fields", f"{what} holds pictures that are named {example.id}")
    return example


def _cut(listed: list[Any], pictures: bytes, what: str) -> list[dict[str, Any]]:
    sizes: list[int] = [
        one["bytes"] for one in listed if isinstance(one, dict) and type(one.get("bytes")) is int and one["bytes"] > 0
    ]
    if len(sizes) != len(listed) or sum(sizes) != len(pictures):
        raise BadRecordError("fields", f"{what}: its pictures are not as long as the {len(pictures)} bytes that follow")
    cut, begin = [], 0
    for one, size in zip(listed, sizes, strict=True):
        jpeg = pictures[begin : begin + size]
        cut.append({"tick": one.get("tick"), "pixel": one.get("pixel"), "jpeg": jpeg})
        begin += size
    return cut
