from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.analyser import Path, ScoredWindow
from pipeline.analysis.camera_streams import Decoded, Geometry
from pipeline.analysis.partition import Fired, Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.analysis.ticks import tick_ns
from pipeline.records.frames import LabelsMarker
from pipeline.records.state import CameraState
from pipeline.records.wire import Partition
from pipeline.testing import ColourEngine, ColourLabels, frame, picture

P = Partition("actionwire.frames", 0)
LABELS = ColourLabels.of(0, ["red"])


def path(spread: int = 1, **options: object) -> tuple[Path, ColourEngine]:
    """A path with nothing on it."""
    engine, geometry = ColourEngine(4), Geometry(4, 4, spread=spread)
    return Path(engine, geometry, lambda _: LABELS, rewind_seconds=5.0, batch=3, **options), engine  # type: ignore[arg-type]


def fresh(position: int = 0, rewind: int | None = None, cameras: Iterable[CameraState] = ()) -> Restored:
    """A partition that goes on at a position."""
    at = Committed(position, position if rewind is None else rewind, NO_STATE, 0)
    return Restored(P, at, {state.camera: state for state in cameras})


def shown(colours: Iterable[str], begin: int = 0, camera: str = "door") -> list[Decoded]:
    """One frame per tick; offsets are ticks."""
    return [Decoded(tick, frame(camera, tick), picture(colour)) for tick, colour in enumerate(colours, start=begin)]


def phases(fired: Iterable[Fired]) -> list[tuple[str, str | None]]:
    """What was said of the events."""
    return [(one.event.phase, one.event.reason) for one in fired]


def test_every_frame_is_encoded_once_in_batches() -> None:
    """Seven frames are three batches of at most three, whatever the number of windows they are part of."""
    lane, engine = path()
    lane.open(fresh())
    outcome = lane.advance({P: shown(["grey"] * 7)})
    assert engine.calls == [3, 3, 1] and outcome.frames == {"door": 7} and outcome.windows == 4


def test_an_event_says_what_it_saw() -> None:
    """The evidence of an event is the peak window's records; its capture time is that of the frame that fired."""
    lane, _ = path()
    lane.open(fresh())
    (started,) = lane.advance({P: shown(["grey"] * 4 + ["red"] * 6)}).fired
    assert started.event.phase == "started" and started.offset == 6
    assert (started.event.evidence.first_offset, started.event.evidence.last_offset) == (3, 6)
    assert started.capture_ns == tick_ns(6, 4, "door")
    assert started.event.window_frames == 4 and started.event.window_rate == 4.0


def test_rewound_frames_that_no_window_needs_are_not_encoded() -> None:
    """Of forty rewound frames only the three that the first live window holds are encoded, when it falls due.

    offset   0 ........ 36 37 38 39 | 40
                           xx xx xx | x
    """
    lane, engine = path()
    lane.open(fresh(40, 0, [CameraState("door", 1, 4, 3, False, ())]))
    assert lane.advance({P: shown(["grey"] * 40)}).frames == {} and engine.calls == []
    outcome = lane.advance({P: shown(["grey"], begin=40)})
    assert outcome.windows == 1 and outcome.frames == {"door": 4}


def test_who_looks_sees_every_window() -> None:
    """The observer gets each window's tick, embeddings and scores, in order."""
    seen: list[ScoredWindow] = []
    lane, _ = path(observe=seen.append)
    lane.open(fresh())
    lane.advance({P: shown(["red"] * 6)})
    assert [one.tick for one in seen] == [3, 4, 5] and np.allclose(seen[0].scores, [1.0])
    assert seen[0].head.shape == (3,)


def test_a_camera_that_is_left_out_ends_its_events() -> None:
    """Shedding ends open events and stops encoding; taking the camera back starts with an empty ring."""
    lane, _ = path()
    lane.open(fresh())
    assert phases(lane.advance({P: shown(["red"] * 8)}).fired) == [("started", None)]
    fired = lane.shed(frozenset({"door"}))
    assert phases(fired) == [("ended", "shed")] and fired[0].offset == 8
    outcome = lane.advance({P: shown(["red"] * 8, begin=8)})
    assert outcome.frames == {} and not outcome.fired and lane.tally.dropped["shed"] == 8
    assert lane.shed(frozenset()) == []
    outcome = lane.advance({P: shown(["red"] * 8, begin=16)})
    assert outcome.frames == {"door": 8} and outcome.windows == 5
    assert lane.tally.live_seconds == 6.0


def test_a_camera_that_is_left_out_is_heard() -> None:
    """Its frames count, so it is not lost: who is heard does not depend on who is watched."""
    lane, _ = path()
    lane.open(fresh())
    assert lane.advance({P: shown(["grey"])}).heard == {P: {"door"}}
    lane.shed(frozenset({"door"}))
    assert lane.advance({P: shown(["grey"], begin=1)}).heard == {P: {"door"}}
    assert lane.advance({P: shown(["grey"], begin=1)}).heard == {}


@pytest.mark.parametrize("rewind", [0, 8])
def test_a_camera_that_is_left_out_ends_what_its_state_has_open(rewind: int) -> None:
    """The message that ended its event was lost with its transaction: the event ends once the partition is warm.

    event    started --------- ended (shed), not committed; the partition is assigned again --------- ended (shed)
    """
    lane, _ = path()
    lane.open(fresh())
    lane.advance({P: shown(["red"] * 8)})
    state = lane.lanes[P].state("door")
    assert state is not None and phases(lane.shed(frozenset({"door"}))) == [("ended", "shed")]
    lane.close(P)
    lane.open(fresh(8, rewind, [state]))
    warm = lane.advance({P: shown(["red"] * 8)[rewind:]}).fired
    assert phases([*warm, *lane.shed(frozenset({"door"}))]) == [("ended", "shed")]
    assert lane.advance({P: shown(["red"] * 8, begin=8)}).windows == 0


def test_a_partition_that_was_warming_up_takes_its_cameras_back() -> None:
    """The overload that passed in the meantime leaves nobody out."""
    lane, _ = path()
    lane.shed(frozenset({"door"}))
    lane.open(fresh(8, 0, [CameraState("door", 1, 4, 3, False, ())]))
    lane.advance({P: shown(["grey"] * 4)})
    lane.shed(frozenset())
    assert lane.advance({P: shown(["grey"] * 5, begin=4)}).windows == 1


def test_a_spread_window_uses_every_other_frame() -> None:
    """Under overload windows span twice the time, half the frames are encoded, and events say so."""
    lane, _ = path(spread=2)
    lane.open(fresh())
    outcome = lane.advance({P: shown(["red"] * 16)})
    assert outcome.frames == {"door": 8} and outcome.windows == 5 and outcome.seconds == 2.5
    assert outcome.fired[0].event.window_rate == 2.0


def test_a_partition_without_a_position_ends_what_it_finds_open() -> None:
    """Events left over from an older life of the group end as lost, and their cameras are forgotten."""
    lane, _ = path()
    lane.open(fresh())
    lane.advance({P: shown(["red"] * 8)})
    state = lane.lanes[P].state("door")
    assert state is not None
    again, _ = path()
    fired = again.open(Restored(P, Committed(50, 50, NO_STATE, 0), {"door": state}, fresh=True))
    assert phases(fired) == [("ended", "lost")]
    snapshot = again.snapshot([P])[P]
    assert snapshot.committed == Committed(50, 50, NO_STATE, 0) and snapshot.changed == {"door": None}
    assert again.snapshot([P]) == {}


def test_a_state_is_written_only_when_it_changed() -> None:
    """Frames that leave every label at rest move the position, not the state."""
    lane, _ = path()
    lane.open(fresh())
    lane.advance({P: shown(["blue"] * 5)})
    first = lane.snapshot([P])[P]
    assert first.committed.position == 5 and set(first.changed) == {"door"}
    lane.advance({P: shown(["blue"] * 5, begin=5)})
    second = lane.snapshot([P])[P]
    assert second.committed.position == 10 and second.changed == {}


def test_a_stray_label_marker_does_not_shut_out_those_that_follow() -> None:
    """A version that was never written stands for the newest that is known; the next change must still count.

    marker   2^61        1
    labels      0 (red)   1 (blue)
    """
    known = {0: ColourLabels.of(0, ["red"]), 1: ColourLabels.of(1, ["blue"])}
    engine = ColourEngine(4)
    lane = Path(engine, Geometry(4, 4), lambda version: known.get(version, known[0]), rewind_seconds=5.0, batch=3)
    lane.open(fresh())

    lane.advance({P: [Decoded(0, LabelsMarker(2**61)), Decoded(1, LabelsMarker(1))]})

    assert lane.lanes[P].streams.labels == 1


def test_an_event_ends_though_its_camera_sends_only_what_is_not_used() -> None:
    """A bundle that takes every second tick, and a camera that slows down to the others: time goes on all the same.

    tick    0 ...  8  10 ... 22   23 25 27 29 31 33
    shown   grey      red         frames that are not encoded
    """
    lane, engine = path(spread=2)
    lane.open(fresh())
    fired = lane.advance(
        {P: [Decoded(t, frame("door", t), picture("red" if t > 8 else "grey")) for t in range(23)]}
    ).fired
    assert phases(fired)[0] == ("started", None)
    encoded = sum(engine.calls)

    fired = lane.advance({P: [Decoded(t, frame("door", t), picture("red")) for t in range(23, 60, 2)]}).fired

    assert phases(fired)[-1] == ("ended", "score")
    assert sum(engine.calls) == encoded


@pytest.mark.parametrize("rewind", [0, 8])
def test_a_camera_whose_state_is_spoilt_begins_anew_alone(rewind: int) -> None:
    """What was open ends as `lost` once the partition is warm; the other camera goes on as if nothing had been.

    offset   0 ............. 8            16 ........... 24
    door     started         | lost       |  started            its state cannot be read
    yard     started         |            |                     its event is open all the while
    """
    lane, _ = path()
    lane.open(fresh())
    first, second = shown(["red"] * 8), shown(["red"] * 8, begin=8, camera="yard")
    assert phases(lane.advance({P: [*first, *second]}).fired) == [("started", None)] * 2
    door, yard = (lane.lanes[P].state(camera) for camera in ("door", "yard"))
    assert door is not None and yard is not None
    lane.snapshot([P])
    lane.close(P)

    found = lane.open(replace(fresh(16, rewind, [yard]), spoilt={"door": door, "gate": None}))
    assert lane.snapshot([P]) == {}, "R is known once everything was read that was rewound"
    batch = [*([*first, *second][rewind:]), *shown(["grey"] * 2, begin=16), *shown(["red"] * 8, begin=18)]
    found += lane.advance({P: batch}).fired
    assert [(one.event.camera, *phases([one])[0]) for one in found] == [
        ("door", "ended", "lost"),
        ("door", "started", None),
    ]
    assert found[0].event.id != found[1].event.id
    changed = lane.snapshot([P])[P].changed
    assert changed["gate"] is None and changed["door"] is not None and "yard" not in changed


def test_a_state_that_is_spoilt_is_written_over_though_nothing_was_open() -> None:
    """Else every later start would come upon it again."""
    lane, _ = path()
    assert lane.open(replace(fresh(8, 8), spoilt={"door": None})) == []
    assert lane.snapshot([P])[P].changed == {"door": None}
