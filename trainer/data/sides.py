"""Labels that name a side or a sense of turning: a mirrored clip no longer shows them."""

from __future__ import annotations

import re

_SIDE = re.compile(
    r"\b(left|right|(left|right)-?(wards?|hand|handed|most|side|sided)|(anti|counter)?clockwise|starboard|portside)\b"
)


def names_a_side(label: str) -> bool:
    """Whether a label names a side or a sense of turning."""
    return _SIDE.search(label.lower()) is not None
