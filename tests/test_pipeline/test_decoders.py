"""What strangers write: a decoder raises its own error, or returns what its annotations say.

Three kinds of input for each decoder of the house: arbitrary bytes, arbitrary JSON, and a good document with one value
replaced by another.
"""

from __future__ import annotations

import copy
import json
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engines.bundle.manifest import Manifest, parse
from engines.errors import BundleError
from pipeline.analysis.rewind import Committed
from pipeline.broker.contract import Position
from pipeline.config.reading import load
from pipeline.config.settings import Settings
from pipeline.errors import BadRecordError, ConfigurationError
from pipeline.records.cameras import CameraStatus, decode_status, encode_status
from pipeline.records.events import ActionEvent, Evidence, ModelReference, decode_event, encode_event
from pipeline.records.examples import Example, ExamplePicture, decode_example, encode_example
from pipeline.records.frames import (
    EndMarker,
    FrameRecord,
    LabelsMarker,
    StreamRecord,
    decode_stream_record,
    encode_stream_record,
)
from pipeline.records.label_report import LabelReport, PictureForm, encode_report
from pipeline.records.labels import (
    ConfigLabels,
    ControlRecord,
    Label,
    LabelPart,
    LiveLabel,
    PartedLabels,
    decode_control,
    encode_control,
)
from pipeline.records.state import CameraState, CoolDown, OpenEvent, Peak, Streak, decode_state, encode_state
from pipeline.records.wire import Headers, iso
from pipeline.replay.truth import Truth, read_truth
from pipeline.testing import sample_event
from pipeline.worker.positions import decode_position, encode_position

EXAMPLES = int(os.environ.get("ACTIONWIRE_TEST_EXAMPLES", "20000"))
"""Over all decoders and kinds of input together."""
BATCH = 20
"""Examples that are drawn together: drawing one by one takes ten times as long as decoding it."""

# -- what a value may be ---------------------------------------------------------------------------------------------


def holds(value: Any, kind: Any) -> bool:
    """Whether a value is of the type that an annotation names, and in its range; so are the fields of a record."""
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if isinstance(kind, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return holds(value, kind.__value__)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return holds(value, inner[0]) and all(_within(value, limit) for limit in _limits(inner[1:]))
    if origin in (Union, types.UnionType):
        return any(holds(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1] is Ellipsis:
            return all(holds(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(holds, value, inner))
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            holds(name, inner[0]) and holds(one, inner[1]) for name, one in value.items()
        )
    if kind is float:  # PEP 484: a whole number is one
        return type(value) in (int, float) and value == value and abs(value) != float("inf")
    if kind in (int, bool, str, bytes, type(None)):
        return type(value) is (type(None) if kind is None else kind)
    if isinstance(value, BaseModel):
        return isinstance(value, kind) and all(
            holds(getattr(value, name), Annotated[found.annotation, found]) for name, found in kind.model_fields.items()
        )
    if is_dataclass(value):
        hints = _hints(type(value))
        return isinstance(value, kind) and all(
            holds(getattr(value, part.name), hints[part.name]) for part in fields(value)
        )
    return isinstance(value, kind)


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = get_type_hints(kind, include_extras=True)
    return _HINTS[kind]


_HINTS: dict[type, dict[str, Any]] = {}


def _limits(found: tuple[Any, ...]) -> Iterator[Any]:
    for one in found:
        yield from one.metadata if isinstance(one, FieldInfo) else (one,)


def _within(value: Any, limit: Any) -> bool:
    match limit:
        case _ if value is None:
            return True
        case Ge(ge=bound):
            return value >= bound
        case Gt(gt=bound):
            return value > bound
        case Le(le=bound):
            return value <= bound
        case Lt(lt=bound):
            return value < bound
        case MinLen(min_length=bound):
            return len(value) >= bound
        case MaxLen(max_length=bound):
            return len(value) <= bound
    return True


# -- what strangers write --------------------------------------------------------------------------------------------

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 2**31, 2**62, 2**63, 2**64, 10**30, 10**400, -(10**400),
    0.5, -0.0, 1.0, 1.5, 1e300, -1e20, 1e-320, float("nan"), float("inf"), float("-inf"),
    "", " ", "\ud800", "a\nb", "x" * 5000, "NaN", "1", "+5", "*", "\x00", "\u202e", "fall", "Not An Id!", "fall\n",
    "open", "streak", "cooldown", "started", "updated", "ended", "rtcp", "lost", "online", "yard",
    "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01",
    "127.0.0.1:port", "::::", [], {}, [[]], [""], {"": 1}, [None], {"id": "x"}, ["ab"], [1, "a"], {"a": [{}]},
]  # fmt: skip
"""Values of which one or another has always broken something."""
LEAVES = st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(ODD))
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3) | st.sampled_from(["schema", "labels"]), inner, max_size=3),
    ),
    max_leaves=4,
)
OTHERS = st.one_of(*[st.sampled_from(ODD)] * 6, LEAVES, JSON)
SOME_BYTES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"[" * 20_000, b'{"a":' * 20_000, b"[" * 80 + b"]" * 80, b'{"schema":1,"labels":' + b"[" * 900,
            b'{"schema":1,"schema":1}', b'{"labels":[],"schema":1,"labels":[]}', b'"\xed\xa0\x80"', b"\xff\xfe1\x00",
            b"", b"null", b"1e999", b"-Infinity", b"\xef\xbb\xbf{}", b"1" * 5000,
        ]
    ),
)  # fmt: skip


def as_json(document: Any) -> bytes:
    """JSON as a careless program writes it: NaN, Infinity and halves of surrogate pairs included."""
    return json.dumps(document).encode()


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, value in inner:
        yield (*path, step)
        yield from places(value, (*path, step))


def with_one_replaced(*documents: Any) -> st.SearchStrategy[Any]:
    """One of the documents with another value somewhere, or without it, or with one more beside it."""
    every = [(document, path) for document in documents for path in places(document)]

    def change(where: tuple[Any, tuple[Any, ...]], value: Any, how: str) -> Any:
        document, path = where
        changed = copy.deepcopy(document)
        part = changed
        for step in path[:-1]:
            part = part[step]
        if how == "take out":
            del part[path[-1]]
        elif how == "add" and isinstance(part, dict):
            part["another"] = value
        else:
            part[path[-1]] = value
        return changed

    ways = st.sampled_from(["replace"] * 8 + ["take out", "add"])
    return st.builds(change, st.sampled_from(every), OTHERS, ways)


def hostile(good: list[Any]) -> st.SearchStrategy[bytes]:
    """Values of a record whose good documents these are."""
    return st.one_of(SOME_BYTES, JSON.map(as_json), *[with_one_replaced(*good).map(as_json)] * 4)


# -- the decoders ----------------------------------------------------------------------------------------------------

_EVIDENCE, _MODEL = Evidence("actionwire.frames", 1, 2, 3), ModelReference("b", "demo", "0.1.0", "s")
_PEAK = Peak(0.7, 43, _EVIDENCE)
_STATE = CameraState(
    "door", 1_790_000_000_000, 4, 50, False,
    (
        CoolDown("jump", 60, 45),
        OpenEvent("fall", "a person falls", sample_event().id, 3, 40, 50, 49, 0.71, _PEAK, 0.7, 44, _MODEL),
        Streak("run", "a person runs", 1, 48, 50, 50, _PEAK, None),
    ),
)  # fmt: skip
_STATUS = CameraStatus("door", "online", 5, 5, 12.5, 320, 240, "h264", "rtcp", -0.02, 0, "host-1", None, None)
_LABEL = Label(
    "fall", "a person falls", "all", ("yard-*",), enter=0.8, confirm=3, max_seconds=30.0, examples=("0" * 16,)
)
_SHOWN = (ExamplePicture(0, 1.0, b"one"), ExamplePicture(2, 1.5, b"two"))
_EXAMPLE = encode_example(Example("fall", 4, _SHOWN, "a clip"))
_TRUTH = {
    "schema": 1, "seconds": 9.0, "epoch": "2026-01-01T00:00:00Z",
    "cameras": [
        {"id": "door", "actions": [{"label": "fall", "start": 1.0, "end": 2.5}], "seconds": 8, "epoch": iso(5)},
    ],
}  # fmt: skip
_DEMO = Path(__file__).parents[2] / "engines" / "bundles" / "demo" / "bundle.json"
_SETTINGS: dict[str, Any] = {
    "rate": 4,
    "kafka": {"bootstrap": "127.0.0.1:9092", "max_message_bytes": 1_000_000},
    "cameras": {"door": {"url": "rtsp://10.0.0.7/stream1", "priority": 1}},
    "labels": ["a person falls", {"text": "a person runs", "enter": 0.6, "cameras": ["door"]}],
    "events": {"enter": 0.6},
    "worker": {"bundle": "demo"},
}


def _value(message: Any) -> Any:
    return json.loads(message.value)


@dataclass(frozen=True)
class Decoder:
    """One decoder: how it is called, what it returns, what it may raise, and what a good document looks like."""

    call: Callable[[bytes], Any]
    returns: Any
    raises: type[Exception] | tuple[type[Exception], ...]
    good: list[Any]
    share: int = 1
    """How many of the examples it gets, compared with others."""


DECODERS: dict[str, Decoder] = {
    "event": Decoder(
        decode_event,
        ActionEvent,
        BadRecordError,
        [_value(encode_event(sample_event("started"), "/a")), _value(encode_event(sample_event("ended"), "/a"))],
        share=3,
    ),
    "status": Decoder(
        lambda value: decode_status(b"door", value),
        CameraStatus,
        BadRecordError,
        [_value(encode_status(one)) for one in (_STATUS, replace(_STATUS, fps=None, clock=None, last_error="x"))],
        share=3,
    ),
    "state": Decoder(
        lambda value: decode_state(b"door", value),
        CameraState,
        BadRecordError,
        [_value(encode_state(_STATE))],
        share=4,
    ),
    "live label": Decoder(
        lambda value: decode_control(b"live/fall", value),
        ControlRecord,
        BadRecordError,
        [_value(encode_control(LiveLabel("fall", _LABEL)))],
        share=2,
    ),
    "labels of the settings": Decoder(
        lambda value: decode_control(b"config", value),
        ControlRecord,
        BadRecordError,
        [_value(encode_control(ConfigLabels((_LABEL, replace(_LABEL, id="run")), ("0123456789abcdef",))))],
        share=2,
    ),
    "labels in parts": Decoder(
        lambda value: decode_control(b"config", value),
        ControlRecord,
        BadRecordError,
        [_value(encode_control(PartedLabels(1, 4, "0123456789abcdef", ("f" * 16,))))],
    ),
    "part of labels": Decoder(
        lambda value: decode_control(b"config/0/7", value),
        ControlRecord,
        BadRecordError,
        [_value(encode_control(LabelPart(0, 7, (_LABEL,))))],
        share=4,
    ),
    "label report": Decoder(
        lambda value: decode_control(b"report/workers", value),
        ControlRecord,
        BadRecordError,
        [
            _value(
                encode_report(
                    LabelReport(
                        "workers",
                        "b" * 64,
                        "demo",
                        "0.1.0",
                        7,
                        (("fall", "unknown"),),
                        1,
                        PictureForm(8, 8, "area", "squash"),
                    )
                )
            )
        ],
    ),
    "example": Decoder(
        lambda head: decode_example(_EXAMPLE.key, head + b"\nonetwo"),
        Example,
        BadRecordError,
        [json.loads((_EXAMPLE.value or b"").partition(b"\n")[0])],
        share=2,
    ),
    "position": Decoder(
        lambda value: decode_position(Position(7, value.decode(errors="surrogateescape"))),
        Committed | None,
        (),
        [json.loads(encode_position(Committed(7, 5, 3, 1)).metadata)],
    ),
    "manifest": Decoder(
        lambda value: parse(value, "here")[0],
        Manifest,
        BundleError,
        [json.loads(_DEMO.read_text())],
        share=2,
    ),
}
_SHARES = sum(one.share for one in DECODERS.values()) + 2 + 3 + 1
"""Truth has two shares, the headers of frames three, the settings one: YAML is read slowly."""


def examples(share: int, of: st.SearchStrategy[Any]) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Check a share of all examples, the same ones in every run."""

    def decorated(check: Callable[[Any], None]) -> Callable[[], None]:
        @settings(
            max_examples=max(2, -(-EXAMPLES * share // _SHARES // BATCH)),
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(of, min_size=BATCH, max_size=BATCH))
        def every(batch: list[Any]) -> None:
            for one in batch:
                check(one)

        return every

    return decorated


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_its_own_error_or_returns_what_it_says(name: str) -> None:
    """For bytes, for JSON, and for a good document with one value replaced. Good documents are taken."""
    decoder = DECODERS[name]
    for good in decoder.good:
        assert holds(decoder.call(as_json(good)), decoder.returns)

    @examples(decoder.share, hostile(decoder.good))
    def check(value: bytes) -> None:
        try:
            found = decoder.call(value)
        except decoder.raises as error:
            said(str(error))
        else:
            assert holds(found, decoder.returns), found

    check()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (replace(_STATUS, fps="fast"), CameraStatus),
        (replace(_STATUS, dropped=-1), CameraStatus),
        (replace(_STATUS, dropped=True), CameraStatus),
        (replace(_STATUS, session=2**62), CameraStatus),
        (replace(_STATE, labels=(replace(_STATE.labels[0], floor_tick="z"),)), CameraState),
        (replace(_STATE, labels=[]), CameraState),
        (replace(_LABEL, cameras="yard"), Label),
        (replace(_LABEL, enter=float("nan")), Label),
        (sample_event(phase="asleep"), ActionEvent),
        (sample_event(peak=None), ActionEvent),
        (Truth((), {"a": float("inf")}, {}), Truth),
        (Truth((), {"a": 1.0}, {"a": 1.5}), Truth),  # type: ignore[dict-item]
    ],
)
def test_what_is_not_what_it_says_is_told(value: Any, kind: Any) -> None:
    """The tests below would see a value of another type or out of range, however deep it lies."""
    assert not holds(value, kind)


def said(message: str) -> None:
    """A message is one line of moderate length, and can be written anywhere."""
    assert message and message.isprintable() and len(message) < 2000, message
    message.encode()


def test_a_truth_is_one_or_is_refused() -> None:
    """What `actionwire evaluate` compares with may come from anybody; NaN and Infinity are refused with the rest."""
    assert holds(read_truth(_TRUTH), Truth)

    @examples(2, st.one_of(st.dictionaries(st.text(max_size=3), OTHERS, max_size=3), *[with_one_replaced(_TRUTH)] * 3))
    def check(document: dict[str, Any]) -> None:
        try:
            assert holds(read_truth(document), Truth)
        except ConfigurationError as error:
            said(str(error))

    check()


FRAME = FrameRecord("door", 1, 0, 2, 4, 5, "rtcp", 6, 7, b"jpeg")
GOOD_STREAM = [encode_stream_record(one) for one in (FRAME, EndMarker("door", 1, 7, "lost"), LabelsMarker(3))]
WORDS = st.one_of(
    st.binary(max_size=6),
    st.integers().map(lambda number: str(number).encode()),
    st.sampled_from(
        [b"+5", b" 5", b"1_0", b"-1", b"9" * 19, b"9" * 5000, "\u0665".encode(), b"frame", b"end", b"labels"]
    ),
)


@st.composite
def stream_records(draw: st.DrawFn) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers of a record of the frames topic that had one thing changed, or all."""
    good = draw(st.sampled_from(GOOD_STREAM))
    headers = list(good.headers)
    how = draw(st.sampled_from(["value of a header"] * 5 + ["header", "key", "all"]))
    if how == "value of a header":
        at = draw(st.integers(0, len(headers) - 1))
        headers[at] = headers[at][0], draw(WORDS)
    elif how == "header":
        at = draw(st.integers(0, len(headers) - 1))
        headers[at : at + draw(st.integers(0, 1))] = [(draw(st.sampled_from(["x", "tick", "kind"])), draw(WORDS))]
    elif how == "all":
        headers = draw(st.lists(st.tuples(st.sampled_from([name for name, _ in headers]), WORDS), max_size=10))
    key = draw(st.none() | st.binary(max_size=300)) if how in ("key", "all") else good.key
    return key, draw(st.sampled_from([good.value, None, b"x"])), tuple(headers)


def test_headers_are_what_they_say_or_are_refused() -> None:
    """Every number lies in the range that the schema and the arithmetic behind it allow."""

    @examples(3, stream_records())
    def check(record: tuple[bytes | None, bytes | None, Headers]) -> None:
        try:
            found: StreamRecord = decode_stream_record(*record)
        except BadRecordError as error:
            said(str(error))
            return
        assert holds(found, StreamRecord)
        if isinstance(found, LabelsMarker):
            assert 0 <= found.version < 2**62
            return
        assert 0 <= found.session < 2**62 // 10**6 and 0 < len(found.camera) <= 200
        if isinstance(found, FrameRecord):
            assert 1 <= found.rate <= 1000 and 0 <= found.tick < found.rate * 2**62 // 10**9
            assert 0 <= found.capture_ns < 2**62 and found.sequence >= 0 and found.jpeg
            assert 1 <= found.width <= 65_535 and 1 <= found.height <= 65_535

    check()


def as_yaml(document: Any) -> bytes:
    """A settings file as a careless program writes it."""
    return str(yaml.safe_dump(document)).encode(errors="surrogatepass")


def test_settings_are_settings_or_are_refused(tmp_path: Path) -> None:
    """A file that is no settings is refused in one line, whatever it holds."""
    file, spoilt = tmp_path / "actionwire.yaml", with_one_replaced(_SETTINGS)

    @examples(1, st.one_of(SOME_BYTES, JSON.map(as_yaml), *[spoilt.map(as_yaml), spoilt.map(as_json)] * 2))
    def check(value: bytes) -> None:
        file.write_bytes(value)
        try:
            assert holds(load(file), Settings)
        except ConfigurationError as error:
            said(str(error))

    check()
