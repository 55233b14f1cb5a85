"""Items that outlive an abort or a swap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.camera_streams import Frame
from pipeline.records.frames import FrameRecord
from pipeline.records.wire import Partition
from pipeline.testing import frame
from pipeline.worker.inference.kept_items import KeptItems, item_of

P, Q = Partition("frames", 0), Partition("frames", 1)
RECORD = replace(frame("door", 7), jpeg=b"")
ITEM = np.ones(3, np.float32)
FRAME = Frame(RECORD, None, ITEM)


@pytest.mark.parametrize(
    "other",
    [
        replace(RECORD, camera="yard"),
        replace(RECORD, session=2),
        replace(RECORD, tick=8),
        replace(RECORD, capture_ns=RECORD.capture_ns + 1),
        replace(RECORD, scene=(9, 9)),
    ],
)
def test_an_item_stands_for_its_own_frame_only(other: FrameRecord) -> None:
    """After a log lost its end, another frame may have the offset."""
    assert item_of(FRAME, RECORD) is ITEM and item_of(FRAME, other) is None and item_of(None, RECORD) is None


def test_what_another_engine_made_is_forgotten() -> None:
    """Items of one origin are worthless to another; those of an equal one stay."""
    kept = KeptItems()
    kept.keep("a", P, {5: FRAME})
    kept.only_of("a")
    assert kept.of(P) == {5: FRAME}
    kept.keep("b", Q, {6: FRAME})
    assert kept.of(P) == {} and kept.of(Q) == {6: FRAME}
    kept.only_of("a")
    assert kept.of(Q) == {}


def test_a_second_abort_during_the_warm_up_forgets_nothing() -> None:
    """What was not read again by then is still to come.

    kept     5 6 7 8    abort at 6: rings hold 5 6    kept 5 6 7 8
    """
    kept = KeptItems()
    kept.keep("a", P, dict.fromkeys((5, 6, 7, 8), FRAME))
    kept.keep("a", P, dict.fromkeys((5, 6), FRAME))
    assert sorted(kept.of(P)) == [5, 6, 7, 8]
    kept.drop(P)
    assert kept.of(P) == {}
