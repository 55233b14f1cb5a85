"""Which pictures of an example make a window of a bundle: the middle of what it shows, at the bundle's pace. Pure.

    pictures   a b c d e f g h i     at 8 a second
    window     .   c   e   g   .     three items, 4 a second

Time is never stretched: of a longer example the middle counts, and of a shorter one the last picture is held, as a ring
holds it (ARCHITECTURE 3d).
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def window_of(ticks: Sequence[int], multiple: int, frames: int, history: int = 0) -> list[int]:
    """Positions among `ticks` of the pictures that make one window, oldest first; some more than once.

    ticks: of the pictures, rising. multiple: ticks from one item of a window to the next. frames: items of a window.
    history: items before the window that a model with memory depends on; those that the example has stand before it.
    """
    spare = ticks[-1] - ticks[0] - (frames - 1) * multiple
    first = ticks[0] + max(0, spare) // 2
    places = [bisect.bisect_right(ticks, first + item * multiple) - 1 for item in range(-history, frames)]
    return [place for place in places if place >= 0]
