"""Records that strangers might write: of the frames topic by class, with what must become of each, and of the others.

A class is a function of a random source that makes one message. Under the id of a camera that is watched only such are
made that must not count there; valid ones come under ids of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, TypeAlias

import numpy as np

from pipeline.analysis.ticks import tick_ns
from pipeline.records.events import event_document
from pipeline.records.frames import EndMarker, FrameRecord, LabelsMarker, encode_stream_record
from pipeline.records.jpeg import encode_jpeg
from pipeline.records.state import CameraState, CoolDown, encode_state
from pipeline.records.wire import Message
from pipeline.testing import sample_event

Fate: TypeAlias = Literal["dead", "encoded", "old", "marker", "undecodable"]
"""What must become of a record: a dead letter, an encoded frame, one dropped as old, a marker, passed over."""

JPEG = encode_jpeg(np.full((32, 32, 3), 90, np.uint8))
RATE = 4


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """The same JPEG with another size in its frame header."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 9 :]


_SMALL = b"\xff\xc0\x00\x11\x08\x00\x10\x00\x10"
BOMB = JPEG[:2] + b"\xff\xff\xfe\xff\xff" + bytes(65_276) + _SMALL + bytes(248) + with_size(JPEG, 16_000, 16_000)[2:]
"""Shows 16 x 16 pixels to whoever takes a fill byte for a marker, and 16000 x 16000 to a decoder."""


class NoText(str):
    """A header name that is no text on the wire: other clients can send it."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Two bytes that are not UTF-8."""
        return b"\xff\xfe"


@dataclass(frozen=True)
class Hostile:
    """One record of the frames topic and its fate."""

    message: Message
    fate: Fate


def frame(camera: str, tick: int, jpeg: bytes, session: int = 1) -> Message:
    """A frame as ingest writes it."""
    record = FrameRecord(camera, session, tick, tick, RATE, tick_ns(tick, RATE, camera), "arrival", 32, 32, jpeg)
    return encode_stream_record(record)


def _with(message: Message, **headers: bytes | None) -> Message:
    kept = {**dict(message.headers), **{name: text for name, text in headers.items() if text is not None}}
    return replace(message, headers=tuple(kept.items()))


def _without(message: Message, name: str) -> Message:
    return replace(message, headers=tuple(pair for pair in message.headers if pair[0] != name))


NUMBERS = ("session", "seq", "tick", "rate", "capture_ns", "width", "height")
NO_NUMBERS = (b"+5", b" 5 ", b"1_0", b"", b"soon", b"\xff", b"5.0", "\u0665".encode(), b"9" * 20, b"9" * 5000)
OUT_OF_RANGE: tuple[tuple[str, bytes], ...] = (
    ("rate", b"0"), ("rate", b"1001"), ("rate", b"-4"), ("tick", b"-1"), ("tick", b"9" * 18), ("session", b"-1"),
    ("session", b"9" * 19), ("capture_ns", b"-1"), ("capture_ns", b"9" * 19), ("width", b"0"), ("width", b"-3"),
    ("height", b"65536"), ("seq", b"-1"),
)  # fmt: skip
NO_JPEGS = (
    b"garbage" * 100, JPEG[:40], b"\x89PNG\r\n\x1a\n" + bytes(99), with_size(JPEG, 65_535, 65_535),
    with_size(JPEG, 0, 0), BOMB, b"\xff\xd8", JPEG[:2] + b"\xff\xd9", b"\xff" * 500,
)  # fmt: skip
DEAD: Mapping[str, Callable[[Random, Message], Message]] = {
    "no picture": lambda random, good: replace(good, value=random.choice(NO_JPEGS)),
    "random bytes": lambda random, good: replace(good, value=random.randbytes(random.randrange(1, 2000))),
    "empty": lambda random, good: replace(good, value=random.choice([None, b""])),
    "no headers": lambda random, good: replace(good, headers=()),
    "header missing": lambda random, good: _without(good, random.choice([name for name, _ in good.headers])),
    "no number": lambda random, good: _with(good, **{random.choice(NUMBERS): random.choice(NO_NUMBERS)}),
    "out of range": lambda random, good: _with(good, **dict([random.choice(OUT_OF_RANGE)])),
    "schema": lambda random, good: _with(good, schema=random.choice([b"2", b"", b"1.0", b"\xff", b"01"])),
    "kind": lambda random, good: _with(good, kind=random.choice([b"", b"picture", b"FRAME", b"\xff"])),
    "clock": lambda random, good: _with(good, clock=random.choice([b"", b"sundial", b"\xff\xfe"])),
    "header twice": lambda random, good: replace(good, headers=(*good.headers, random.choice(good.headers))),
    "key": lambda random, good: replace(good, key=random.choice([None, b"", b"\xff\xfe", b"k" * 201, b"k" * 50_000])),
    "end": lambda random, good: _with(good, kind=b"end", reason=random.choice([b"", b"bored", b"\xff"])),
    "end of no time": lambda random, good: _with(good, kind=b"end", reason=b"lost", session=b"-1"),
    "labels": lambda random, good: _with(good, kind=b"labels", version=random.choice([b"-1", b"9" * 19, b"x", b""])),
}
"""Classes of records that must be dead letters, whatever camera they name."""
_CLASSES = (*DEAD, "stranger", "strange headers", "seen", "older session", "end of another", "stray labels", "no text")
STRAYS = 20
"""At most so many markers of label sets that never were: each has the control topic read once."""


def hostile(random: Random, number: int, camera: str, ticks: int) -> Hostile:
    """One record. camera: the watched one of this partition, of which so many frames were sent already."""
    name = random.choice(_CLASSES) if random.random() < 0.3 else random.choice(list(DEAD))
    if name in DEAD:
        of = camera if random.random() < 0.5 and ticks else f"stranger-{number}"
        return Hostile(DEAD[name](random, frame(of, max(ticks, 1) + 100, JPEG)), "dead")
    if name == "strange headers":
        odd = tuple((text, random.randbytes(9)) for text in ("trace", "trace", "x" * 500, ""))
        good = frame(f"stranger-{number}", 7, JPEG)
        return Hostile(replace(good, headers=(*good.headers, *odd)), "encoded")
    if name == "seen" and ticks:
        return Hostile(frame(camera, random.randrange(ticks), JPEG), "old")
    if name == "older session" and ticks:
        return Hostile(frame(camera, random.randrange(ticks + 50), JPEG, session=0), "old")
    if name == "end of another":
        return Hostile(encode_stream_record(EndMarker(camera, 2**40, 7, random.choice(["lost", "removed"]))), "marker")
    if name == "stray labels" and number < 60 * STRAYS and number % 3 == 0:
        return Hostile(encode_stream_record(LabelsMarker(random.randrange(10**6, 2**62))), "marker")
    if name == "no text" and number % 4 == 0:
        good = frame(camera, 10**6, JPEG)
        return Hostile(replace(good, headers=(*good.headers, (NoText("odd"), b""))), "undecodable")
    return Hostile(frame(f"stranger-{number}", random.randrange(10**9), JPEG, random.randrange(2**40)), "encoded")


DEEP = (b"[" * 100_000, b'{"schema":1,"labels":' * 5000)
NO_JSON = (
    b"\xff\x00",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"x"',
    b'{"schema":1,"schema":1}',
    b'{"schema":NaN}',
    b'"\\ud800"',
    *DEEP,
)


def _spoilt(random: Random, document: Any, others: int = 1) -> bytes:
    """A document with one value replaced, at any depth."""
    changed = json.loads(json.dumps(document))
    for _ in range(others):
        part, step = changed, random.choice(list(changed))
        while isinstance(part[step], dict | list) and part[step] and random.random() < 0.7:
            part = part[step]
            step = random.choice(list(part)) if isinstance(part, dict) else random.randrange(len(part))
        part[step] = random.choice(
            [[], {}, "", "\ud800", -1, 10**30, 1e300, float("nan"), float("inf"), [[]], {"": 1}, "x" * 5000, True]
        )
    return json.dumps(changed).encode()


_LABEL = {"id": "x", "text": "a person waves", "enter": 0.8, "cameras": ["nowhere"]}
_STATUS = {
    "schema": 1, "camera": "stranger", "condition": "online", "since_ms": 5, "session": 5, "fps": 4.0, "width": 8,
    "height": 8, "codec": "h264", "clock": "rtcp", "clock_offset_seconds": 0.1, "dropped": 0, "publisher": "nobody",
    "conflict": None, "last_error": None,
}  # fmt: skip
_STATE = json.loads(encode_state(CameraState("stranger", 1, 4, 9, False, (CoolDown("x", 9, 3),))).value or b"")


def control_records(random: Random, count: int) -> list[Message]:
    """Records of the control topic that no label comes of, or one that is watched for nowhere."""
    known = [{"schema": 1, "labels": bad} for bad in ([[]], [""], {"": 1}, 7, None, [_LABEL, _LABEL])]
    made = [Message(b"config", json.dumps(one).encode()) for one in known]
    made += [Message(b"live/x", json.dumps({"schema": 1, "label": bad}).encode()) for bad in ([], "", 7, {"id": []})]
    made += [Message(random.choice([b"live/x", b"config", b"\xff", b""]), value) for value in NO_JSON]
    for _ in range(count):
        made.append(Message(b"live/x", _spoilt(random, {"schema": 1, "label": _LABEL})))
        made.append(Message(random.choice([b"", b"nonsense", b"live/Not An Id!", b"live/"]), b'{"schema":1}'))
    return made


def state_records(random: Random, count: int) -> list[Message]:
    """Records of the state topic, under keys of cameras that are not watched and under keys that are no cameras."""
    made = [Message(b"stranger", value) for value in NO_JSON]
    for number in range(count):
        value = _spoilt(random, _STATE, 1 + number % 2)
        made.append(
            Message(random.choice([b"stranger", f"stranger-{number}".encode(), b"\xff", b"", b"k" * 5000]), value)
        )
    return made


def status_records(random: Random, count: int) -> list[Message]:
    """Records of the cameras topic: no statuses, and one that would silence its camera."""
    made = [Message(b"stranger", value) for value in NO_JSON]
    made += [Message(f"stranger-{number}".encode(), _spoilt(random, _STATUS)) for number in range(count)]
    forged = {**_STATUS, "camera": "forged", "session": 4611686018426}
    return [*made, Message(b"\xff", b"{}"), Message(b"", b"{}"), Message(b"forged", json.dumps(forged).encode())]


def event_records(random: Random, count: int) -> list[Message]:
    """Records of the events topic that are no events."""
    good = [event_document(sample_event(phase)) for phase in ("started", "updated", "ended")]
    made = [Message(b"stranger", value) for value in NO_JSON]
    made += [Message(b"stranger", json.dumps({**one, "phase": "asleep"}).encode()) for one in good]
    made += [Message(b"stranger", json.dumps({**one, "peak": None}).encode()) for one in good]
    return made + [Message(b"stranger", _spoilt(random, random.choice(good))) for _ in range(count)]
