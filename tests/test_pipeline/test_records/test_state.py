"""The wire form of camera states."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadRecordError
from pipeline.records.events import Evidence, ModelReference
from pipeline.records.state import CameraState, CoolDown, OpenEvent, Peak, Streak, decode_state, encode_state

PEAK = Peak(0.1 + 0.2, 7_160_000_044, Evidence("actionwire.frames", 5, 100, 107))
ID = "6c0f7f9e-0000-5000-8000-000000000000"
MODEL = ModelReference("b" * 64, "demo", "0.1.0", "s" * 16)
STATE = CameraState(
    camera="front-door",
    session=1_790_000_000_000,
    rate=4,
    last_tick=7_160_000_050,
    ended=False,
    labels=(
        OpenEvent("fall", "a person falls", ID, 3, 40, 50, 49, 0.71, PEAK, 0.7, 44, MODEL),
        CoolDown("jump", 60, 45),
        Streak("run", "a person runs", 1, 48, 50, 50, PEAK, None),
        Streak("wave", "a person waves", 2, 49, 49, 50, PEAK, 41),
    ),
)


def test_what_is_sent_is_what_is_read() -> None:
    """Encoding and decoding loses nothing, and the key is the camera, for compaction."""
    message = encode_state(STATE)

    assert (message.key, decode_state(message.key, message.value)) == (b"front-door", STATE)


@given(st.floats(0, 1, width=32))
def test_scores_keep_every_bit(score: float) -> None:
    """A peak that was written down compares as the one that was measured."""
    streak = Streak("run", "a person runs", 1, 50, 50, 50, Peak(score, 50, PEAK.evidence), None)
    state = CameraState("door", 1, 4, 50, False, (streak,))

    (found,) = decode_state(b"door", encode_state(state).value).labels

    assert isinstance(found, Streak)
    assert math.copysign(1, found.peak.score) == math.copysign(1, score)
    assert found.peak.score == score


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 9}, "schema"),
        ({"labels": [{"phase": "asleep"}]}, "fields"),
        ({"labels": [{"phase": "cooldown"}]}, "fields"),
        ({"labels": [{}]}, "fields"),
    ],
)
def test_a_bad_state_has_a_reason(change: dict[str, Any], reason: str) -> None:
    """Another schema, an unknown field, phase or a missing one is refused."""
    document = json.loads(encode_state(STATE).value or b"")

    with pytest.raises(BadRecordError) as caught:
        decode_state(b"front-door", json.dumps({**document, **change}).encode())

    assert caught.value.reason == reason
