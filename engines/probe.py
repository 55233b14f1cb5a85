"""The golden probe: an engine whose outputs differ from those of the exporting framework is not used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.backends.network import normalise
from engines.bundle.files import Bundle
from engines.contract import Engine, Images, Items
from engines.errors import ProbeFailed

SLACK = {"fp32": 1, "fp16": 2, "bf16": 10, "int8": 50}
"""By what factor each precision may exceed the manifest's tolerance, which is meant for fp32. Measured on a ViT-B/32,
after L2 normalisation: bf16 is 1.7e-3 off, int8 1.7e-2."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Greatest absolute differences from the golden outputs, after L2 normalisation."""

    encode: float
    embed: float


def probe(engine: Engine, bundle: Bundle) -> Probe:
    """Run the golden probe of `bundle` through `engine` and return the differences.

    To a bundle with memory its pictures are the first frames of one stream.

    Raises ProbeFailed when one exceeds the manifest's tolerance times `SLACK` of the engine's precision.
    """
    golden = bundle.golden()
    items = _streamed(engine, golden.images) if engine.info.history else engine.encode(golden.images)[0]
    head, pooled = engine.embed(golden.windows)
    encode = (
        0.0
        if bundle.manifest.kind == "clip"
        else _difference(normalise(items), normalise(np.asarray(golden.items, np.float32)))
    )
    measured = Probe(encode, max(_difference(head, golden.head), _difference(pooled, golden.pooled)))
    slack = SLACK[engine.info.precision]
    for what in ("encode", "embed"):
        found, allowed = getattr(measured, what), slack * getattr(bundle.manifest.tolerance, what)
        if not found <= allowed:
            raise ProbeFailed(
                f"bundle {bundle.label} on {engine.info.backend} {engine.info.device} ({engine.info.precision}): "
                f"{what} is {found:.2g} off the golden probe, {allowed:.2g} is allowed; "
                "try another backend or export again"
            )
    return measured


def _streamed(engine: Engine, images: Images) -> Items:
    """The items of frames that follow one another in one stream from its start."""
    items, memory = [], None
    for image in images:
        item, memory = engine.encode(image[None], memory)
        items.append(item)
    return np.concatenate(items)


def _difference(found: npt.NDArray[Any], golden: npt.NDArray[Any]) -> float:
    # A network of another width cannot be compared; it counts as infinitely far off.
    if found.shape != golden.shape:
        return float("inf")
    return float(np.max(np.abs(found - golden), initial=0.0))
