"""An engine that two threads use in turns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engines.backends import open_engine
from engines.backends.shared import SharedEngine
from engines.bundle.files import Bundle
from engines.errors import BackendUnavailable
from engines.testing import COLOURS, solid


def test_two_threads_get_the_answers_of_one(tiny: Bundle) -> None:
    """Requests of a runtime are no safe place for two callers; behind the lock every answer is the lonely one."""
    pictures = [np.stack([solid(name)] * (1 + number % 9)) for number, name in enumerate((*COLOURS,) * 12)]
    engine = SharedEngine(open_engine(tiny, "openvino", threads=2))
    alone = [engine.encode(some)[0] for some in pictures]
    with ThreadPoolExecutor(2) as pool:
        together = [items for items, _ in pool.map(engine.encode, pictures)]
    assert [one.tobytes() for one in together] == [one.tobytes() for one in alone]
    engine.close()


def test_a_closed_one_says_so_and_closes_once(tiny: Bundle) -> None:
    """Whoever still encodes an example while the bundle is swapped gets an error of ours, not of the runtime."""
    engine = SharedEngine(open_engine(tiny, "onnxruntime", threads=1))
    assert engine.info.name == "tiny"
    engine.close()
    engine.close()
    for call in (
        lambda: engine.encode(solid("red")[None]),
        lambda: engine.embed(np.zeros((1, 8, 8), np.float32)),
        lambda: engine.embed_sequences(np.zeros((1, 8, 8), np.float32)),
        lambda: engine.prototypes(np.zeros((1, 8, 8), np.float32), np.zeros((1, 8), np.float32)),
    ):
        with pytest.raises(BackendUnavailable, match="is closed; use the newer one"):
            call()
