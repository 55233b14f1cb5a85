"""The golden probe: an engine must answer what the exporting framework answered, or it is not used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.backends.network import normalise
from engines.bundle.files import Bundle
from engines.contract import Engine
from engines.errors import ProbeFailed

SLACK = {"fp32": 1, "fp16": 2, "bf16": 10, "int8": 50}
"""How many times the manifest's tolerance, which is meant for fp32, an engine of another precision may use up. After L2
normalisation bf16 was measured 1.7e-3 off and int8 1.7e-2 on a ViT-B/32."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Greatest absolute differences from the golden answers, after L2 normalisation."""

    encode: float
    embed: float


def probe(engine: Engine, bundle: Bundle) -> Probe:
    """Run the golden probe of `bundle` through `engine` and return the differences.

    Raises ProbeFailed when one is above the manifest's tolerance times `SLACK` of the engine's precision.
    """
    golden = bundle.golden()
    items, _ = engine.encode(golden.images)
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


def _difference(found: npt.NDArray[Any], golden: npt.NDArray[Any]) -> float:
    # A network of another width cannot be compared; infinitely far is the honest answer.
    if found.shape != golden.shape:
        return float("inf")
    return float(np.max(np.abs(found - golden), initial=0.0))
