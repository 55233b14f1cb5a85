"""Frames pass a model with memory one after the other, and restarts rebuild its buffers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engines.contract import Images, Items, Memory
from pipeline.analysis.analyser import Analyser, ScoredWindow
from pipeline.analysis.camera_streams import Decoded, Frame, Geometry
from pipeline.analysis.memory import Turn, in_waves, turns
from pipeline.analysis.partition import Restored
from pipeline.analysis.rewind import NO_STATE, Committed
from pipeline.records.frames import FrameRecord
from pipeline.records.state import CameraState
from pipeline.records.wire import Partition
from pipeline.testing import ColourEngine, ColourLabels, frame, picture

P = Partition("actionwire.frames", 0)
LABELS = ColourLabels.of(0, ["red"])
COLOURS = ("red", "green", "blue", "grey", "red", "red", "blue", "green", "red", "grey", "blue", "red")


def run(count: int) -> list[Frame]:
    """Frames of one camera without a break; none is encoded."""
    return [Frame(frame("door", tick), picture("red")) for tick in range(count)]


def remembered(one: Frame) -> Frame:
    """It was encoded, and is the newest that was."""
    one.item, one.memory = np.zeros(3, np.float32), (np.zeros(3, np.float32),)
    return one


def shape(found: Sequence[Turn], frames: Sequence[Frame]) -> str:
    """Places of the turns: `1` only rebuilds, the item of `1!` counts; `>` from buffers, ` 0>` from zeros."""
    place = {id(one): number for number, one in enumerate(frames)}
    words = ""
    for turn in found:
        words += f"{'>' if turn.before else ' 0>'}{place[id(turn.frame)]}{'!' if turn.exact else ''}"
        assert turn.before is None or place[id(turn.before)] == place[id(turn.frame)] - 1
    return words.strip()


def of(wanted: Sequence[int], frames: Sequence[Frame]) -> set[int]:
    """Those that need an item."""
    return {id(frames[place]) for place in wanted}


def test_a_frame_follows_the_one_whose_buffers_are_kept() -> None:
    """The daily case: one turn."""
    frames = run(6)
    remembered(frames[4])
    assert shape(turns(frames, of([5], frames), set(), 2), frames) == ">5!"


def test_frames_of_one_batch_follow_each_other() -> None:
    """The second takes the buffers that the first will leave."""
    frames = run(6)
    remembered(frames[3])
    first = turns(frames[:5], of([4, 5], frames), set(), 2)
    second = turns(frames, of([4, 5], frames), {id(turn.frame) for turn in first}, 2)
    assert (shape(first, frames), shape(second, frames)) == (">4!", ">5!")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([5], "0>3>4>5!"),  # two frames before it rebuild what it depends on
        ([2, 3, 4, 5], "0>0>1>2!>3!>4!>5!"),  # a whole window
        ([1, 2, 5], "0>0!>1!>2! 0>3>4>5!"),  # from the start of a stream zeros are right, and so is every item
        ([0, 1], "0>0!>1!"),
    ],
)
def test_a_restart_rebuilds_the_buffers(wanted: Sequence[int], expected: str) -> None:
    """L = 2. Every frame that needs an item has two before it that were encoded again, or the start of its stream."""
    frames = run(6)
    assert shape(turns(frames, of(wanted, frames), set(), 2), frames) == expected


def test_what_the_newest_frame_left_does_not_spare_what_lies_before_it() -> None:
    """The newest was encoded when the window was not due; now the window needs the frames before it as well."""
    frames = run(7)
    remembered(frames[5])
    assert shape(turns(frames, of([3, 4, 6], frames), set(), 2), frames) == "0>1>2>3!>4!>6!"


def test_cameras_share_calls_and_frames_of_one_camera_do_not() -> None:
    """The first of each, then the second of each."""
    one, other = run(3), run(1)
    first, second = (turns(some, of(range(len(some)), some), set(), 2) for some in (one, other))
    assert [[turn.frame for turn in wave] for wave in in_waves([first, [], second])] == [
        [one[0], other[0]],
        [one[1]],
        [one[2]],
    ]


class Watched(ColourEngine):
    """Notes how often each colour was encoded."""

    def __init__(self, history: int) -> None:
        super().__init__(4, history)
        self.seen: Counter[tuple[int, ...]] = Counter()

    def encode(self, images: Images, memory: Memory | None = None) -> tuple[Items, Memory | None]:
        """As of its base."""
        self.seen.update(tuple(int(value) for value in image[0, 0]) for image in images)
        return super().encode(images, memory)


def analysed(
    batches: Sequence[Sequence[Decoded]], history: int = 3, position: int = 0
) -> tuple[dict[tuple[str, int], bytes], Watched]:
    """The window embeddings by camera and tick, and the engine that made the items."""
    windows: dict[tuple[str, int], bytes] = {}
    engine = Watched(history)

    def observe(window: ScoredWindow) -> None:
        windows[window.camera, window.tick] = window.head.tobytes()

    analyser = Analyser(
        engine,
        Geometry(4, 4, history=history),
        lambda _: LABELS,
        rewind_seconds=1.0,
        batch=3,
        observe=observe,
        prepare=lambda jpeg, pixel: picture(jpeg.decode()),
    )
    known = {"door": CameraState("door", 1, 4, position - 1, False, ())} if position else {}
    analyser.open(Restored(P, Committed(position, 0, NO_STATE, 0), known))
    for batch in batches:
        analyser.advance({P: batch})
    return windows, engine


def shown(camera: str, ticks: Sequence[int], offset: int = 0, step: int = 1) -> list[Decoded]:
    """Frames of a camera, one colour after the other."""
    return [
        Decoded(offset + step * place, frame(camera, tick), picture(COLOURS[tick % len(COLOURS)]))
        for place, tick in enumerate(ticks)
    ]


def streamed(ticks: Sequence[int], history: int) -> dict[int, bytes]:
    """The windows of a stream without missing frames by the formula, with no analyser: one frame after the other."""
    engine, memory, items = ColourEngine(4, history), None, []
    for tick in ticks:
        item, memory = engine.encode(picture(COLOURS[tick % len(COLOURS)])[None], memory)
        items.append(item[0])
    return {ticks[at]: engine.embed(np.stack(items[at - 3 : at + 1])[None])[0].tobytes() for at in range(3, len(items))}


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_windows_are_those_of_the_stream_however_it_is_cut(size: int) -> None:
    """Two cameras in one partition, in batches of any size: each window is what its own stream gives, to the bit."""
    door, yard = shown("door", range(20), 0, 2), shown("yard", range(7, 27), 1, 2)
    records = [one for pair in zip(door, yard, strict=True) for one in pair]
    windows, engine = analysed([records[at : at + size] for at in range(0, len(records), size)])
    for camera, ticks in (("door", range(20)), ("yard", range(7, 27))):
        expected = streamed(list(ticks), 3)
        assert {tick: found for (name, tick), found in windows.items() if name == camera} == expected
    assert engine.seen.total() == 40  # every frame once


def test_nothing_is_kept_for_a_restart_that_rebuilds() -> None:
    """Items without the buffers that made them would leave the next frame without a past."""
    for history, kept in ((0, 4), (3, 0)):
        engine, geometry = ColourEngine(4, history), Geometry(4, 4, history=history)
        analyser = Analyser(engine, geometry, lambda _: LABELS, rewind_seconds=1.0, batch=3, restarts=True)
        analyser.open(Restored(P, Committed(0, 0, NO_STATE, 0)))
        analyser.advance({P: shown("door", range(4))})
        assert len(analyser.encoded(P)) == kept


def test_a_gap_that_empties_the_window_ends_the_memory() -> None:
    """Nothing of before a long gap is seen after it; over a short one the memory goes on from frame to frame.

    tick     0 1 2 3 4 5 6   .  .  .   40 ... 45        holds: 2
    """
    windows, _ = analysed([shown("door", [*range(7), *range(40, 46)])])
    assert {tick: found for (_, tick), found in windows.items() if tick >= 40} == streamed(list(range(40, 46)), 3)


@pytest.mark.parametrize("position", range(5, 14))
def test_a_restart_between_missing_frames_changes_no_window(position: int) -> None:
    """Several windows fall due with one frame, the first of which begins where the ring began before it.

    tick     0 1 2 3 4 . . 7 . . 10 . 12 13 14 15 . 17 18 . 20        holds: 2
    """
    ticks = [0, 1, 2, 3, 4, 7, 10, 12, 13, 14, 15, 17, 18, 20]
    whole, _ = analysed([shown("door", ticks)])
    records = [carried(one) if one.offset < position else one for one in shown("door", ticks)]
    windows, _ = analysed([records[:position], records[position:]], position=position)
    assert windows == {place: found for place, found in whole.items() if place[1] > ticks[position - 1]}


def carried(one: Decoded) -> Decoded:
    """As a restart reads it again: its JPEG waits until it is needed."""
    assert isinstance(one.content, FrameRecord)
    jpeg = COLOURS[one.content.tick % len(COLOURS)].encode()
    return replace(one, image=None, content=replace(one.content, jpeg=jpeg))


def test_a_restart_encodes_window_and_memory_again_and_nothing_else() -> None:
    """From P on the windows are those of an uncut run. T + L - 1 frames before the new one are encoded, older ones not.

    offset   0 ...  12 13 14  15 16 17 18  19 ...       P = 19, T = 4, L = 3, rewind of one second
    """
    whole, _ = analysed([shown("door", range(24))])
    records = [carried(one) if one.offset < 19 else one for one in shown("door", range(24))]
    windows, engine = analysed([records[:19], records[19:20], records[20:]], position=19)
    assert windows == {place: found for place, found in whole.items() if place[1] >= 19}
    assert engine.seen.total() == (4 + 3 - 1) + 5
