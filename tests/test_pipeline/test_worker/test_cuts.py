"""The test that matters: for any cut of a recorded partition, restore + rewind yields the bytes of the uncut run.

It mirrors no module: the behaviour spans assignment, rewind, analysis and commit.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engines.contract import Images
from pipeline.analysis.analyser import Analyser, Prepared
from pipeline.analysis.camera_streams import Decoded, Geometry
from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.errors import BadRecordError
from pipeline.records.events import encode_event
from pipeline.records.frames import EndMarker, FrameRecord, LabelsMarker, StreamRecord
from pipeline.records.state import CameraState, decode_state, encode_state
from pipeline.records.wire import Partition
from pipeline.testing import ColourEngine, ColourLabels, as_record, frame, picture
from pipeline.worker.assignment import _place, _States
from pipeline.worker.decoding import decode, decode_again
from pipeline.worker.positions import decode_position, encode_position

P = Partition("actionwire.frames", 3)
RATE, REWIND = 4, 2.0
LABEL_VIEWS = {
    0: ColourLabels.of(0, ["red", "green"]),
    7: ColourLabels.of(7, ["red", "blue"], enter=0.7),
}


@dataclass(frozen=True)
class Log:
    """A recorded partition: what was written, and what was shown in each frame (`broken`: not a JPEG)."""

    records: Sequence[StreamRecord]
    shown: Sequence[str | None]

    def decoded(self, offset: int, committed: Committed) -> Decoded:
        """A record as a worker decodes it that began at this position."""
        record, shown = self.records[offset], self.shown[offset]
        if isinstance(record, FrameRecord):
            record = replace(record, jpeg=(shown or "").encode())
        raw = as_record(record, P, offset)
        return decode(raw, seen) if offset >= committed.position else decode_again(raw, seen, committed.pictures)


def seen(jpeg: bytes, pixel: float = 1.0) -> Images:
    """What a frame shows."""
    if jpeg == b"broken":
        raise BadRecordError("jpeg", "not a JPEG")
    return picture(jpeg.decode())


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Two cameras with scenes, gaps, repeats, late and broken frames, reconnects, end markers and label changes."""
    records: list[StreamRecord] = []
    shown: list[str | None] = []
    now = {"door": (1, 100), "yard": (1, 103)}
    for _ in range(draw(st.integers(3, 14))):
        camera = draw(st.sampled_from(sorted(now)))
        session, tick = now[camera]
        kind = draw(
            st.sampled_from(["scene"] * 6 + ["odd", "gap", "late", "reconnect", "lost", "removed", "labels", "broken"])
        )
        if kind == "scene":
            colour = draw(st.sampled_from(["red", "red", "red", "green", "blue", "grey"]))
            for _ in range(draw(st.integers(2, 14))):
                tick += draw(st.sampled_from([1, 1, 1, 1, 2, 3]))
                records.append(frame(camera, tick, session=session, rate=RATE))
                shown.append(colour)
        elif kind == "odd":  # of no use to a bundle that takes every second tick
            for _ in range(draw(st.integers(1, 20))):
                tick += 1 + tick % 2
                records.append(frame(camera, tick, session=session, rate=RATE))
                shown.append("grey")
        elif kind == "gap":
            tick += draw(st.integers(3, 60))
        elif kind in ("late", "broken"):
            records.append(frame(camera, tick - draw(st.integers(-1, 6)), session=session, rate=RATE))
            shown.append("broken" if kind == "broken" else "red")
            tick = max(tick, records[-1].tick) if kind == "late" else tick
        elif kind == "reconnect":
            session, tick = session + 1, tick + draw(st.integers(-5, 5))
        elif kind == "labels":
            records.append(LabelsMarker(draw(st.sampled_from([0, 7]))))
            shown.append(None)
        else:
            records.append(EndMarker(camera, session, tick, "lost" if kind == "lost" else "removed"))
            shown.append(None)
        now[camera] = (session, tick)
    return Log(records, shown)


@dataclass
class Broker:
    """What a transaction leaves behind: events, dead letters, states, one position."""

    events: list[bytes]
    dead: list[int]
    states: list[tuple[str, bytes | None]]
    position: Committed = field(default_factory=lambda: Committed(0, 0, NO_STATE, 0))

    def restored(self) -> Restored:
        """What a worker finds when it takes over the partition."""
        committed = decode_position(encode_position(self.position))
        assert committed is not None
        cameras: dict[str, CameraState] = {}
        for camera, value in self.states[: committed.state + 1]:
            cameras.pop(camera, None)
            if value is not None:
                cameras[camera] = decode_state(camera.encode(), value)
        return Restored(P, committed, cameras)


def run(
    log: Log,
    broker: Broker,
    stop: int,
    sizes: Sequence[int],
    multiple: int = 1,
    stride: int = 1,
    history: int = 0,
    ahead: int = 0,
) -> Analyser:
    """A worker's life: restore, rewind to R, then batches of these sizes, each committed, up to offset `stop`.

    history: of the model's memory. ahead: so many batches are prepared before an older one is concluded; those are lost
    where a life is cut short.
    """
    label_views = {version: replace(one, multiple=multiple, stride=stride) for version, one in LABEL_VIEWS.items()}
    geometry, begun = Geometry(4, RATE // multiple, stride, history=history), broker.restored()
    engine = ColourEngine(history=history)
    analyser = Analyser(engine, geometry, label_views.__getitem__, rewind_seconds=REWIND, batch=8, prepare=seen)
    analyser.open(begun)
    offset, turn = broker.position.rewind, 0
    prepared: deque[Prepared] = deque()
    while offset < stop or (prepared and stop == len(log.records)):
        if offset < stop:
            upto = min(stop, offset + sizes[turn % len(sizes)])
            prepared.append(analyser.prepare({P: [log.decoded(one, begun.committed) for one in range(offset, upto)]}))
            offset, turn = upto, turn + 1
            if len(prepared) <= ahead:
                continue
        outcome = analyser.conclude(prepared.popleft())
        commit(analyser, broker, [encode_event(fired.event, "/test").value for fired in outcome.fired], outcome.dead)
    return analyser


def commit(analyser: Analyser, broker: Broker, events: Sequence[bytes | None], dead: Sequence[object]) -> None:
    """Write what a transaction would write, all or nothing."""
    taken = analyser.snapshot([P]).get(P)
    if taken is None:
        assert not events and not dead
        return
    broker.events += [value for value in events if value is not None]
    broker.dead += [one.record.offset for one in dead]  # type: ignore[attr-defined]
    for camera, state in taken.changed.items():
        broker.states.append((camera, None if state is None else encode_state(state).value))
        analyser.partitions[P].state_offset = len(broker.states) - 1
    broker.position = replace(taken.committed, state=analyser.partitions[P].state_offset)


def everything(analyser: Analyser) -> Mapping[str, CameraState | None]:
    """The state of every camera as it stands."""
    return {camera: analyser.partitions[P].state(camera) for camera, _ in analyser.partitions[P].streams.streams()}


@pytest.mark.parametrize("cut", range(10))
def test_a_frame_that_brings_back_a_removed_session_finds_nothing_of_it(cut: int) -> None:
    """Frames from before the removal lie within reach of the rewind, and must stay forgotten wherever the cut falls.

    offset  0     1     2     3     4            5     6            7     8     9
    camera  yard  door  door  door  door         door  door         door  door  door
    tick    100   101   102   104   104 removed  103   104 lost     105   106   107
                                                 opens, again in session 1
    """
    doors = [frame("door", tick, session=1, rate=RATE) for tick in (101, 102, 104, 103, 105, 106, 107)]
    removed, lost = EndMarker("door", 1, 104, "removed"), EndMarker("door", 1, 104, "lost")
    records = [frame("yard", 100, session=1, rate=RATE), *doors[:3], removed, doors[3], lost, *doors[4:]]
    log = Log(records, [None if isinstance(one, EndMarker) else "red" for one in records])
    whole, broker = Broker([], [], []), Broker([], [], [])
    uncut = run(log, whole, len(records), [len(records)])
    run(log, broker, cut, [2])
    analyser = run(log, broker, len(records), [3])
    assert everything(analyser) == everything(uncut) and broker.events == whole.events


@pytest.mark.parametrize("cut", range(6, 16))
def test_a_bad_picture_stays_bad_when_only_its_headers_are_read_again(cut: int) -> None:
    """Its headers claim the tick of the frame behind it, which counts, for R as well; wherever W falls.

    offset   5     6       7     8     9     10
    tick     105   106     106   107   108   109
    picture        broken
    """
    ticks = [*range(100, 107), *range(106, 115)]
    shown = ["broken" if offset == 6 else "red" if offset % 9 else "blue" for offset in range(len(ticks))]
    log = Log([frame("door", tick, rate=RATE) for tick in ticks], shown)
    whole, broker = Broker([], [], []), Broker([], [], [])
    uncut = run(log, whole, len(ticks), [len(ticks)])
    run(log, broker, min(cut, len(ticks)), [2])
    analyser = run(log, broker, len(ticks), [3])
    assert everything(analyser) == everything(uncut) and broker.events == whole.events
    assert replace(broker.position, state=0) == replace(whole.position, state=0)


@pytest.mark.parametrize("again", [False, True], ids=["newer frames", "the lost ones again"])
@pytest.mark.parametrize("end", [5, 12, 20, 27, 31])
def test_a_log_that_lost_its_end_sends_no_message_twice(end: int, again: bool) -> None:
    """The state has the events of the lost frames. Frames at the same offsets lead to events with ids of their own.

    offset     0      5     12     20     27  31  35
    shown      blue   red .....    blue   red        P
    then       ......| blue, red, long blue, red, blue
    """
    colours = [colour for colour, count in (("blue", 6), ("red", 8), ("blue", 9), ("red", 12)) for _ in range(count)]
    first = [frame("door", tick, rate=RATE) for tick in range(len(colours))]
    broker = Broker([], [], [])
    run(Log(first, colours), broker, len(first), [4])

    found = broker.restored()
    broker.position = _place(P, found.committed, _States(dict(found.cameras)), (0, end), 0, "live").committed
    before, tick = len(broker.events), end if again else len(first)
    shown = ["blue"] * 10 + ["red"] * 10 + ["blue"] * 40 + ["red"] * 12 + ["blue"] * 12
    frames = [*first[:end], *(frame("door", tick + more, rate=RATE) for more in range(len(shown)))]
    run(Log(frames, [*colours[:end], *shown]), broker, len(frames), [4])

    messages = [json.loads(value) for value in broker.events]
    assert len({(one["id"], one["sequence"]) for one in messages}) == len(messages)
    started = [one["start_tick"] - tick for one in messages[before:] if one["phase"] == "started"]
    assert (again or len(started) == 2) and 58 <= started[-1] <= 66


GRIDS = st.sampled_from([(1, 1, 0), (2, 1, 0), (1, 2, 0), (2, 2, 0), (1, 1, 3), (2, 1, 1), (1, 2, 6), (2, 2, 2)])
"""Every n-th tick an item, every n-th item a window, and how far back a model with memory sees: also further than
the worker rewinds."""


@settings(max_examples=150, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(logs(), st.data(), st.lists(st.integers(1, 9), min_size=1, max_size=5), GRIDS, st.integers(0, 2))
def test_any_cuts_yield_the_bytes_of_the_uncut_run(
    log: Log, data: st.DataObject, sizes: list[int], grid: tuple[int, int, int], ahead: int
) -> None:
    """Killed at any offsets, however often, a partition ends with the same events, dead letters, states and R.

    So it does with a model that remembers the frames before a window: its buffers are no state, they are rebuilt.

    However many batches are prepared before the one in front of them is concluded.
    """
    whole = Broker([], [], [])
    end = len(log.records)
    uncut = run(log, whole, end, [max(1, end)], *grid)
    cuts = sorted(data.draw(st.lists(st.integers(0, end), max_size=4)))
    broker = Broker([], [], [])
    for cut in [*cuts, end]:
        analyser = run(log, broker, cut, sizes, *grid, ahead)
    assert broker.events == whole.events
    assert broker.dead == whole.dead
    assert everything(analyser) == everything(uncut)
    assert replace(broker.position, state=0) == replace(whole.position, state=0)
