"""Labels by example, by the thousand, with items that cost nothing: random directions in place of encoded pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.records.labels import Label
from pipeline.worker.model import Model


def taught(label: Label, number: int) -> Label:
    """The label, with one example."""
    return replace(label, examples=(_name(number),))


def examples_at_random(model: Model, count: int, *, seed: int = 0) -> None:
    """Put the items of the examples 0 to `count` - 1 where the model keeps what it encoded; a frame bundle's only."""
    info, random = model.engine.info, np.random.default_rng(seed)
    for number in range(count):
        items = random.standard_normal((info.frames, info.dimensions)).astype(np.float32)
        model.examples.keep(_name(number), items)


def _name(number: int) -> str:
    return f"{number:016x}"
