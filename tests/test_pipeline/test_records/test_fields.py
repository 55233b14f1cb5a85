"""Records that are held to their annotations."""

from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.errors import BadRecordError
from pipeline.records.fields import CameraId, Flag, LabelId, Probability, Rate, Session, Tick, checked


@dataclass(frozen=True, slots=True)
class Inner:
    """A part of a record."""

    rate: Rate


@dataclass(frozen=True, slots=True)
class Sample:
    """A record of every kind of field."""

    camera: CameraId
    session: Session
    score: Probability | None
    ended: Flag
    labels: tuple[LabelId, ...]
    inner: Inner
    tick: Tick = 0


GOOD = {"camera": "door", "session": 5, "score": 1, "ended": False, "labels": ["run"], "inner": {"rate": 4}}


def test_what_fits_becomes_a_record() -> None:
    """Lists become tuples, parts become records, unknown fields are ignored, defaults apply."""
    found = checked(Sample, {**GOOD, "more": 1}, "sample")
    assert found == Sample("door", 5, 1.0, False, ("run",), Inner(4))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"camera": ""}, "camera"),
        ({"camera": "x" * 201}, "camera"),
        ({"camera": b"door"}, "camera"),
        ({"session": True}, "session"),
        ({"session": 5.0}, "session"),
        ({"session": "5"}, "session"),
        ({"session": -1}, "session"),
        ({"score": 1.01}, "score"),
        ({"score": float("nan")}, "score"),
        ({"score": True}, "score"),
        ({"ended": 0}, "ended"),
        ({"labels": "run"}, "labels"),
        ({"labels": ["run\\n"]}, r"labels\.0"),
        ({"labels": ["run", 7]}, r"labels\.1"),
        ({"inner": {}}, r"inner\.rate"),
        ({"inner": []}, "inner"),
        ({"inner": {"rate": 1001}}, r"inner\.rate"),
        ({"tick": 2**62}, "tick"),
    ],
)
def test_what_does_not_is_named(change: dict[str, Any], place: str) -> None:
    """The message says which record and which field."""
    with pytest.raises(BadRecordError, match=f"^sample: {place}: ") as caught:
        checked(Sample, {**GOOD, **change}, "sample")
    assert caught.value.reason == "fields"


def test_the_first_fault_is_named_and_the_others_counted() -> None:
    """A message stays on one short line."""
    with pytest.raises(BadRecordError, match=r"^sample: camera: .* \(and 5 more\)$"):
        checked(Sample, {}, "sample")
