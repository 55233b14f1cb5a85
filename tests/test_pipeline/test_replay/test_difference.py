"""What another model would change: new, gone, moved, or the same."""

from __future__ import annotations

import uuid
from itertools import chain
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.ticks import REPLAY_EPOCH_NS, SECOND
from pipeline.records.events import ActionEvent
from pipeline.replay.difference import difference, report, spans
from pipeline.testing import sample_event


def event(
    start: float, end: float | None, camera: str = "door", label: str = "fall", model: str = "a"
) -> list[ActionEvent]:
    """The messages of one event, in seconds; end None: it is still open, two seconds after its start."""

    def at(seconds: float) -> int:
        return REPLAY_EPOCH_NS + round(seconds * SECOND)

    same: dict[str, Any] = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{camera} {label} {start} {model}")),
        "camera": camera,
        "label": label,
        "label_id": label,
        "start_ns": at(start),
    }
    started = sample_event("started", time_ns=at(start + 2), **same)
    return [started] if end is None else [started, sample_event("ended", time_ns=at(end + 1), end_ns=at(end), **same)]


def counts(
    before: list[list[ActionEvent]], after: list[list[ActionEvent]], **given: float
) -> tuple[int, int, int, int]:
    """Same, moved, new, gone."""
    found = difference(chain(*before), chain(*after), **given)
    return len(found.same), len(found.moved), len(found.new), len(found.gone)


def test_a_day_in_words() -> None:
    """One event of each kind.

    in use      |- 10..20 -|    |- 30..35 -|                 |- 60..61 -|
    candidate   |- 10..20.5 -|     |- 33..36 -|  |- 45..50 -|
    """
    before = [event(10, 20), event(30, 35), event(60, 61)]
    after = [event(10, 20.5, model="b"), event(33, 36, model="b"), event(45, 50, model="b")]
    assert counts(before, after) == (1, 1, 1, 1)
    found = report(difference(chain(*before), chain(*after)))
    assert [one["start"][17:19] for one in found["new_events"]] == ["45"]
    (moved,) = found["moved_events"]
    assert (moved["start_seconds"], moved["end_seconds"]) == (3.0, 1.0)
    assert found["labels"]["fall"]["start_seconds_median"] == 1.5


def test_cameras_and_labels_are_worlds_of_their_own() -> None:
    """The same time at another camera or of another label is no match."""
    assert counts([event(1, 5)], [event(1, 5, camera="yard")]) == (0, 0, 1, 1)
    assert counts([event(1, 5)], [event(1, 5, label="run")]) == (0, 0, 1, 1)


def test_events_that_only_touch_are_the_same_action() -> None:
    """One that lasts no time at all among them; a gap makes two of them."""
    assert counts([event(1, 5)], [event(5, 9)], tolerance=10) == (1, 0, 0, 0)
    assert counts([event(3, 3)], [event(3, 3)]) == (1, 0, 0, 0)
    assert counts([event(1, 5)], [event(5.1, 9)]) == (0, 0, 1, 1)


def test_two_for_one_leaves_one_new() -> None:
    """The half that shares more is the action, the other is new."""
    found = difference(event(0, 10), [*event(0, 3), *event(4, 10, model="b")])
    assert [pair.after.start_ns for pair in (*found.same, *found.moved)] == [REPLAY_EPOCH_NS + 4 * SECOND]
    assert len(found.new) == 1 and not found.gone


def test_an_open_event_reaches_as_far_as_is_known() -> None:
    """Its end is not compared."""
    found = difference(event(0, None), event(0, 30))
    assert len(found.same) == 1 and found.same[0].end_seconds is None


def test_messages_may_come_twice_and_in_any_order() -> None:
    """As a topic that was read twice has them."""
    messages = event(1, 5)
    assert spans([*reversed(messages), *messages]) == spans(messages)


moments = st.integers(0, 60)
actions = st.lists(
    st.tuples(moments, moments, st.sampled_from(["door", "yard"]), st.sampled_from(["fall", "run"])), max_size=8
)


def made(drawn: list[tuple[int, int, str, str]], model: str) -> list[ActionEvent]:
    """Events of drawn actions; one model tells no two events with one start."""
    unique = {(start, camera, label): end for start, end, camera, label in drawn}
    return [
        message
        for (start, camera, label), end in unique.items()
        for message in event(start, start + end, camera, label, model)
    ]


@given(one=actions, other=actions)
def test_every_event_is_counted_once(one: list[Any], other: list[Any]) -> None:
    """What is in use is same, moved or gone; the candidate's is same, moved or new; and the reverse is the mirror."""
    before, after = made(one, "a"), made(other, "b")
    found, back = difference(before, after), difference(after, before)
    pairs = len(found.same) + len(found.moved)
    assert pairs + len(found.gone) == len(spans(before)) and pairs + len(found.new) == len(spans(after))
    assert (len(back.new), len(back.gone), len(back.same)) == (len(found.gone), len(found.new), len(found.same))
    assert not difference(before, before).changed
