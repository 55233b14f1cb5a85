from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.analysis.analyser import Analyser, ScoredWindow
from pipeline.analysis.camera_streams import Decoded, Geometry
from pipeline.analysis.partition import Fired, Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.analysis.ticks import tick_ns
from pipeline.errors import ContractError
from pipeline.records.state import CameraState
from pipeline.records.wire import Partition
from pipeline.testing import ColourEngine, ColourLabels, frame, picture

P = Partition("actionwire.frames", 0)
LABELS = ColourLabels.of(0, ["red"])


def make_analyser(spread: int = 1, **options: object) -> tuple[Analyser, ColourEngine]:
    """An analyser without partitions."""
    engine, geometry = ColourEngine(4), Geometry(4, 4, spread=spread)
    return Analyser(engine, geometry, lambda _: LABELS, rewind_seconds=5.0, batch=3, **options), engine  # type: ignore[arg-type]


def fresh(position: int = 0, rewind: int | None = None, cameras: Iterable[CameraState] = ()) -> Restored:
    """A partition that continues at a position."""
    at = Committed(position, position if rewind is None else rewind, NO_STATE, 0)
    return Restored(P, at, {state.camera: state for state in cameras})


def shown(colours: Iterable[str], begin: int = 0, camera: str = "door") -> list[Decoded]:
    """One frame per tick; offsets are ticks."""
    return [Decoded(tick, frame(camera, tick), picture(colour)) for tick, colour in enumerate(colours, start=begin)]


def phases(fired: Iterable[Fired]) -> list[tuple[str, str | None]]:
    """Phase and end reason of each message."""
    return [(one.event.phase, one.event.reason) for one in fired]


def test_every_frame_is_encoded_once_in_batches() -> None:
    """Seven frames are three batches of at most three, whatever the number of windows they are part of."""
    analyser, engine = make_analyser()
    analyser.open(fresh())
    outcome = analyser.advance({P: shown(["grey"] * 7)})
    assert engine.calls == [3, 3, 1] and outcome.frames == {"door": 7} and outcome.windows == 4


def test_what_a_restart_would_need_stays_encoded() -> None:
    """A window before the committed P, and everything since; a replay, which restarts nothing, keeps nothing.

    committed P              5
    encoded    . 1 2 3 4     5 6 7 8 9
    """
    analyser, _ = make_analyser(restarts=True)
    analyser.open(fresh())
    analyser.advance({P: shown(["grey"] * 5)})
    assert sorted(analyser.encoded(P)) == [0, 1, 2, 3, 4]
    analyser.partitions[P].streams.committed = 5
    analyser.advance({P: shown(["grey"] * 5, begin=5)})
    assert sorted(analyser.encoded(P)) == list(range(1, 10)), "four frames before P, whatever the rings hold now"
    replaying, _ = make_analyser()
    replaying.open(fresh())
    replaying.advance({P: shown(["grey"] * 5)})
    assert replaying.encoded(P) == {}


def test_a_picture_waits_as_jpeg_until_a_window_needs_it() -> None:
    """Rings of many cameras that warm up would hold pixels for long; once there is an item, nothing else is held.

    offset     0  1  2  3  4  5 | P = 6, a window of 3 ... 6
    prepared            3  4  5
    """
    prepared: list[bytes] = []

    def prepare(jpeg: bytes, pixel: float) -> NDArray[np.uint8]:
        prepared.append(jpeg)
        return picture("grey")

    analyser, engine = make_analyser(prepare=prepare, restarts=True)
    state = CameraState("door", 1, 4, 5, False, (), 0)
    analyser.open(fresh(6, rewind=0, cameras=[state]))
    analyser.advance({P: [Decoded(tick, frame("door", tick, jpeg=b"%d" % tick)) for tick in range(6)]})
    assert prepared == [] and engine.calls == []
    outcome = analyser.advance({P: shown(["grey"], begin=6)})
    assert outcome.windows == 1 and sorted(prepared) == [b"3", b"4", b"5"]
    assert all(one.record.jpeg == b"" and one.image is None for one in analyser.encoded(P).values())


def test_a_window_over_headers_alone_is_an_error_that_says_so() -> None:
    """A committed W that is too late must not pass for a window that nobody saw."""
    analyser, _ = make_analyser()
    state = CameraState("door", 1, 4, 5, False, (), 0)
    analyser.open(fresh(6, rewind=0, cameras=[state]))
    analyser.advance({P: [Decoded(tick, replace(frame("door", tick), jpeg=b"")) for tick in range(6)]})
    with pytest.raises(ContractError, match="only headers were read"):
        analyser.advance({P: shown(["grey"], begin=6)})


def test_an_event_says_what_it_saw() -> None:
    """The evidence of an event is the peak window's records; its capture time is that of the frame that fired."""
    analyser, _ = make_analyser()
    analyser.open(fresh())
    (started,) = analyser.advance({P: shown(["grey"] * 4 + ["red"] * 6)}).fired
    assert started.event.phase == "started" and started.offset == 6
    assert (started.event.evidence.first_offset, started.event.evidence.last_offset) == (3, 6)
    assert started.capture_ns == tick_ns(6, 4, "door")
    assert started.event.window_frames == 4 and started.event.window_rate == 4.0


def test_rewound_frames_that_no_window_needs_are_not_encoded() -> None:
    """Of forty rewound frames only the three that the first live window holds are encoded, when it falls due.

    offset   0 ........ 36 37 38 39 | 40
                           xx xx xx | x
    """
    analyser, engine = make_analyser()
    analyser.open(fresh(40, 0, [CameraState("door", 1, 4, 3, False, ())]))
    assert analyser.advance({P: shown(["grey"] * 40)}).frames == {} and engine.calls == []
    outcome = analyser.advance({P: shown(["grey"], begin=40)})
    assert outcome.windows == 1 and outcome.frames == {"door": 4}


def test_an_observer_sees_every_window() -> None:
    """The observer gets each window's tick, embeddings and scores, in order."""
    seen: list[ScoredWindow] = []
    analyser, _ = make_analyser(observe=seen.append)
    analyser.open(fresh())
    analyser.advance({P: shown(["red"] * 6)})
    assert [one.tick for one in seen] == [3, 4, 5] and np.allclose(seen[0].scores, [1.0])
    assert seen[0].head.shape == (3,)


def test_a_camera_that_is_left_out_ends_its_events() -> None:
    """Shedding ends open events and stops encoding; taking the camera back starts with an empty ring."""
    analyser, _ = make_analyser()
    analyser.open(fresh())
    assert phases(analyser.advance({P: shown(["red"] * 8)}).fired) == [("started", None)]
    fired = analyser.shed(frozenset({"door"}))
    assert phases(fired) == [("ended", "shed")] and fired[0].offset == 8
    outcome = analyser.advance({P: shown(["red"] * 8, begin=8)})
    assert outcome.frames == {} and not outcome.fired and analyser.tally.dropped["shed"] == 8
    assert analyser.shed(frozenset()) == []
    outcome = analyser.advance({P: shown(["red"] * 8, begin=16)})
    assert outcome.frames == {"door": 8} and outcome.windows == 5
    assert analyser.tally.live_seconds == 6.0


def test_a_camera_that_is_left_out_is_active() -> None:
    """Its frames count, so it is not lost: shedding does not decide which cameras are active."""
    analyser, _ = make_analyser()
    analyser.open(fresh())
    assert analyser.advance({P: shown(["grey"])}).active == {P: {"door"}}
    analyser.shed(frozenset({"door"}))
    assert analyser.advance({P: shown(["grey"], begin=1)}).active == {P: {"door"}}
    assert analyser.advance({P: shown(["grey"], begin=1)}).active == {}


@pytest.mark.parametrize("rewind", [0, 8])
def test_a_camera_that_is_left_out_ends_what_its_state_has_open(rewind: int) -> None:
    """The message that ended its event was lost with its transaction: the event ends once the partition is warm.

    event    started --------- ended (shed), not committed; the partition is assigned again --------- ended (shed)
    """
    analyser, _ = make_analyser()
    analyser.open(fresh())
    analyser.advance({P: shown(["red"] * 8)})
    state = analyser.partitions[P].state("door")
    assert state is not None and phases(analyser.shed(frozenset({"door"}))) == [("ended", "shed")]
    analyser.close(P)
    analyser.open(fresh(8, rewind, [state]))
    warm = analyser.advance({P: shown(["red"] * 8)[rewind:]}).fired
    assert phases([*warm, *analyser.shed(frozenset({"door"}))]) == [("ended", "shed")]
    assert analyser.advance({P: shown(["red"] * 8, begin=8)}).windows == 0


def test_a_partition_that_was_warming_up_takes_its_cameras_back() -> None:
    """An overload that is over by then leaves no camera out."""
    analyser, _ = make_analyser()
    analyser.shed(frozenset({"door"}))
    analyser.open(fresh(8, 0, [CameraState("door", 1, 4, 3, False, ())]))
    analyser.advance({P: shown(["grey"] * 4)})
    analyser.shed(frozenset())
    assert analyser.advance({P: shown(["grey"] * 5, begin=4)}).windows == 1


def test_a_spread_window_uses_every_other_frame() -> None:
    """Under overload windows span twice the time, half the frames are encoded, and events say so."""
    analyser, _ = make_analyser(spread=2)
    analyser.open(fresh())
    outcome = analyser.advance({P: shown(["red"] * 16)})
    assert outcome.frames == {"door": 8} and outcome.windows == 5 and outcome.seconds == 2.5
    assert outcome.fired[0].event.window_rate == 2.0


def test_an_event_ends_though_its_camera_sends_only_what_is_not_used() -> None:
    """A bundle that takes every second tick, and a camera that slows down to the others: time goes on all the same.

    tick    0 ...  8  10 ... 22   23 25 27 29 31 33
    shown   grey      red         frames that are not encoded
    """
    analyser, engine = make_analyser(spread=2)
    analyser.open(fresh())
    fired = analyser.advance(
        {P: [Decoded(t, frame("door", t), picture("red" if t > 8 else "grey")) for t in range(23)]}
    ).fired
    assert phases(fired)[0] == ("started", None)
    encoded = sum(engine.calls)

    fired = analyser.advance({P: [Decoded(t, frame("door", t), picture("red")) for t in range(23, 60, 2)]}).fired

    assert phases(fired)[-1] == ("ended", "score")
    assert sum(engine.calls) == encoded


@pytest.mark.parametrize("rewind", [0, 8])
def test_a_camera_whose_state_is_spoilt_begins_anew_alone(rewind: int) -> None:
    """What was open ends as `lost` once the partition is warm; the other camera goes on as if nothing had been.

    offset   0 ............. 8            16 ........... 24
    door     started         | lost       |  started            its state cannot be read
    yard     started         |            |                     its event is open all the while
    """
    analyser, _ = make_analyser()
    analyser.open(fresh())
    first, second = shown(["red"] * 8), shown(["red"] * 8, begin=8, camera="yard")
    assert phases(analyser.advance({P: [*first, *second]}).fired) == [("started", None)] * 2
    door, yard = (analyser.partitions[P].state(camera) for camera in ("door", "yard"))
    assert door is not None and yard is not None
    analyser.snapshot([P])
    analyser.close(P)

    found = analyser.open(replace(fresh(16, rewind, [yard]), spoilt={"door": door, "gate": None}))
    assert analyser.snapshot([P]) == {}, "R is known once everything was read that was rewound"
    batch = [*([*first, *second][rewind:]), *shown(["grey"] * 2, begin=16), *shown(["red"] * 8, begin=18)]
    found += analyser.advance({P: batch}).fired
    assert [(one.event.camera, *phases([one])[0]) for one in found] == [
        ("door", "ended", "lost"),
        ("door", "started", None),
    ]
    assert found[0].event.id != found[1].event.id
    changed = analyser.snapshot([P])[P].changed
    assert changed["gate"] is None and changed["door"] is not None and "yard" not in changed


def test_a_state_that_is_spoilt_is_written_over_though_nothing_was_open() -> None:
    """Else every later start would come upon it again."""
    analyser, _ = make_analyser()
    assert analyser.open(replace(fresh(8, 8), spoilt={"door": None})) == []
    assert analyser.snapshot([P])[P].changed == {"door": None}
