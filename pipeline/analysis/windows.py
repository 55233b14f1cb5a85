"""Windows of one camera: a ring of items on the tick grid, and the windows that end at due ticks (ARCHITECTURE 3d).

A bundle trained at r/m uses the ticks with k mod m = 0, its *item ticks*. A window of T items ends at every item tick
with (k/m) mod s = 0, its *due ticks*. Grid and stride are absolute, so any two runs over the same records cut the same
windows.

    T = 3, m = 1, s = 2, holds at most 2

    tick     0   1   2   3   4   5   6   7   8   9  10  11  12
    frame    a   b   c   d   -   e   f   -   -   -   g   h   i
    item     a   b   c   d  (d)  e   f   .   .   .   g   h   i      (d): the missing tick 4 is held; 7 to 9 are too many
    window           abc     cdd     def     x       x      ghi     x: a due tick that passes without a window

The last item fills missing item ticks, at most max(1, floor(r / 2m)) of them. A longer gap is not filled and empties
the ring. There are no partial windows. All consequences of a frame (holds, windows, passed ticks) happen when the frame
arrives, so they belong to its offset. This holds for a frame between two item ticks as well, if items before it are
missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Grid:
    """The ticks that a bundle uses: T items per window, every m-th tick an item, every s-th item tick a window."""

    frames: int
    multiple: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        if min(self.frames, self.multiple, self.stride) < 1:
            raise ValueError(f"a grid needs at least one frame, a multiple and a stride of at least 1, not {self}")

    @property
    def step(self) -> int:
        """Ticks from one due tick to the next."""
        return self.multiple * self.stride

    @property
    def span(self) -> int:
        """Ticks from the first item of a window to its last."""
        return (self.frames - 1) * self.multiple

    def is_item(self, tick: int) -> bool:
        """True if a frame at this tick becomes an item."""
        return tick % self.multiple == 0

    def is_due(self, tick: int) -> bool:
        """True if a window ends at this tick."""
        return tick % self.step == 0

    def due(self, after: int, upto: int) -> range:
        """Due ticks in (after, upto]."""
        return range((after // self.step + 1) * self.step, upto + 1, self.step)

    def holds(self, rate: int) -> int:
        """Longest gap that is filled, in item ticks: half a second, at least one."""
        return max(1, rate // (2 * self.multiple))


@dataclass(frozen=True, slots=True)
class Slot(Generic[Item]):
    """One accepted frame in a ring: the offset of its record and its item."""

    offset: int
    item: Item


@dataclass(frozen=True, slots=True)
class Window(Generic[Item]):
    """T items that end at a due tick, oldest first. A held item appears more than once."""

    tick: int
    slots: tuple[Slot[Item], ...]

    @property
    def offsets(self) -> tuple[int, int]:
        """Offsets of the first and the last accepted frame inside."""
        return self.slots[0].offset, self.slots[-1].offset


Due: TypeAlias = Window[Item] | range
"""A window, or a range of due ticks that pass without one (ARCHITECTURE 4)."""


class Ring(Generic[Item]):
    """The last T items of one session of one camera, and those before them that a model with memory depends on.

    history: frames before its own that an item depends on, held ones counted once; a gap that empties the ring ends
    that as well.
    """

    def __init__(self, grid: Grid, rate: int, history: int = 0) -> None:
        self.grid = grid
        self._holds = grid.holds(rate)
        self._behind: deque[Slot[Item]] = deque(maxlen=history)
        self._slots: deque[Slot[Item]] = deque(maxlen=grid.frames)
        self._tick: int | None = None

    def __iter__(self) -> Iterator[Slot[Item]]:
        """The slots held now, oldest first."""
        return iter(self._slots)

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest frame that the items held now depend on; None: none is held."""
        return next((slot.offset for slot in (*self._behind, *self._slots)), None)

    @property
    def run(self) -> tuple[Item, ...]:
        """The items of the frames that are held and of those that they depend on, oldest first, each once."""
        return tuple({slot.offset: slot.item for slot in (*self._behind, *self._slots)}.values())

    def push(self, tick: int, offset: int, item: Item) -> list[Due[Item]]:
        """Take an item, at a later item tick than the last one; return what fell due since, in tick order."""
        slot = Slot(offset, item)
        due: list[Due[Item]] = []
        if self._tick is not None:
            missing = (tick - self._tick) // self.grid.multiple - 1
            if missing > self._holds or not self._slots:
                due += self._empty(self._tick, tick - 1)
            else:
                held = self._slots[-1]
                for between in range(self._tick + self.grid.multiple, tick, self.grid.multiple):
                    due += self._place(between, held)
        due += self._place(tick, slot)
        self._tick = tick
        return due

    def lapse(self, tick: int) -> list[Due[Item]]:
        """Take note of a frame at a tick that is no item tick; return the due ticks that it shows to have passed.

        A camera may send frames at such ticks only, and its time still goes on. Once more items are missing than a
        held item fills, no later frame can complete a window over the gap.
        """
        last = tick - tick % self.grid.multiple
        before = last if self._tick is None else self._tick
        if self._slots and (last - before) // self.grid.multiple <= self._holds:
            return []
        self._tick = last
        return self._empty(before, last)

    def _empty(self, after: int, upto: int) -> list[Due[Item]]:
        """Drop the held items; the due ticks in (after, upto] pass without a window."""
        self._behind.clear()
        self._slots.clear()
        passed = self.grid.due(after, upto)
        return [passed] if passed else []

    def _place(self, tick: int, slot: Slot[Item]) -> list[Due[Item]]:
        first = self._slots[0] if self._slots else slot
        self._slots.append(slot)
        if self._slots[0].offset != first.offset:  # the last tick of that frame has left the window
            self._behind.append(first)
        if not self.grid.is_due(tick):
            return []
        if len(self._slots) < self.grid.frames:
            return [range(tick, tick + 1)]
        return [Window(tick, tuple(self._slots))]
