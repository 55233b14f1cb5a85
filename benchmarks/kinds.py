"""What a window costs where the tower looks at its frames together, over one whose frames are encoded one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from models import PROMPTS, prompted

from engines.backends import ov
from engines.backends.network import thread_count
from engines.bench.rounds import Call, measure, ratio
from engines.contract import Engine

TOWER = "vit_b32"
CAMERAS = 8
"""Windows at once, each of another camera."""


def kinds(*, quick: bool) -> dict[str, Any]:
    """Return the time of a window of 8 frames at stride 1 over that of the plain tower, float32, by OpenVINO.

    `<prompt>_over_frame`: causal_shift encodes each frame once, with memory; shift and joint, clip bundles, encode
    whole windows. At stride s the time of frames counts s times and that of windows once, so theirs is 1/s of it. Keys
    in `_cpu` are by CPU time. A quick run has no ViT and leaves this out.
    """
    if quick:
        return {}
    engines = {prompt: ov.open(prompted(TOWER, prompt), threads=thread_count(None)) for prompt in PROMPTS}
    calls = {prompt: Call(_window(engine), CAMERAS) for prompt, engine in engines.items()}
    rates = measure(calls, rounds=9, seconds=1.5)
    for engine in engines.values():
        engine.close()
    found: dict[str, Any] = {}
    for clock, suffix in (("wall", ""), ("cpu", "_cpu")):
        of = {prompt: getattr(rate, clock) for prompt, rate in rates.items()}
        found |= {
            f"{prompt}_over_frame{suffix}": ratio(of["frame"], of[prompt]).data()
            for prompt in PROMPTS
            if prompt != "frame"
        }
    return found


def _window(engine: Engine) -> Callable[[], object]:
    """A new frame of each camera, and the window that ends with it."""
    info, random = engine.info, np.random.default_rng(0)
    images = random.integers(0, 256, (CAMERAS, info.height, info.width, 3), np.uint8)
    items, memory = engine.encode(images)
    windows = np.repeat(items[:, None], info.frames, axis=1)

    def run() -> object:
        return engine.encode(images, memory), engine.embed(windows)

    return run
