"""Whether a bundle can run in a deployment: rates, thresholds, and how far back a worker reads."""

from __future__ import annotations

from engines.bundle.manifest import Manifest
from engines.errors import IncompatibleBundle


def check_deployment(manifest: Manifest, *, rate: int, rewind_seconds: float) -> None:
    """Raise IncompatibleBundle when the bundle cannot run in a deployment.

    rate: frames/s of the deployment's tick grid, a multiple of the window's. rewind_seconds: how far back a restored
    worker reads; the longest window allowed must fit in, with the frames that its first item depends on.
    """
    window, who = manifest.window, f"bundle {manifest.name}@{manifest.version}"
    if rate < window.rate or rate % window.rate:
        raise IncompatibleBundle(
            f"{who} was trained at {window.rate} frames/s, which does not divide the deployment's rate {rate}; "
            f"set the rate to a multiple of {window.rate}"
        )
    if always := manifest.events.always_open:
        raise IncompatibleBundle(
            f"{who} has an enter threshold of 0 for {', '.join(always)}: every window would be an event; "
            "calibrate it again"
        )
    held = max(0.5, max(window.multiples) / window.rate)  # for the item before the window, which fills gaps
    needed = (window.frames + manifest.history) * max(window.multiples) / window.rate + held
    if needed > rewind_seconds:
        memory = " and its memory" if manifest.history else ""
        raise IncompatibleBundle(
            f"{who} needs {needed:g} s of frames for a window{memory}, the worker rewinds {rewind_seconds:g} s only; "
            f"set rewind_seconds to {needed:g} or more"
        )
