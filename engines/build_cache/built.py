"""Built once, kept, and checked: what a runtime makes of a network.

Many processes may ask for the same at the same time. One builds; the others wait and say for whom. A folder that cannot
be written costs the time of building at every start, nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from engines.build_cache import entries
from engines.build_cache.build_lock import HeldLock, Told, locked
from engines.build_cache.entries import LOCK, BuildInputs, Damaged
from engines.build_cache.private_folder import make_private

WAIT_SECONDS = 3600.0


def built(
    folder: Path,
    inputs: BuildInputs,
    make: Callable[[Told], bytes],
    *,
    told: Told = lambda what, done: None,
    wait_seconds: float = WAIT_SECONDS,
) -> bytes:
    """Return what `make` builds of `inputs`, from the cache in `folder` where it is there and whole.

    An entry that is damaged, of another host or of another user is set aside and built again. told: hears of it, of the
    progress, and of whom this process waits for.
    Raises BuildCacheError for a folder whose content must not be executed and after `wait_seconds`; what `make` raises.
    """
    what = f"{inputs.network} for {inputs.device} ({inputs.runtime})"
    with ExitStack() as stack:
        try:
            make_private(folder)
            if (plan := _whole(folder, inputs)) is not None:
                return plan
            held = stack.enter_context(locked(folder / f"{inputs.key}{LOCK}", what, told, wait_seconds))
        except OSError as error:
            told(f"{folder} cannot be written ({error.strerror}): {inputs.network} is built and not kept", 0.0)
            return make(told)
        return _build(folder, inputs, make, told, held)


def reject(folder: Path, inputs: BuildInputs) -> None:
    """Set an entry aside that is whole and that the runtime refuses all the same."""
    with locked(folder / f"{inputs.key}{LOCK}", inputs.network, lambda what, done: None, WAIT_SECONDS):
        entries.set_aside(folder, inputs)


def _whole(folder: Path, inputs: BuildInputs) -> bytes | None:
    try:
        return entries.load(folder, inputs)
    except Damaged:
        return None


def _build(folder: Path, inputs: BuildInputs, make: Callable[[Told], bytes], told: Told, held: HeldLock) -> bytes:
    """Build and keep, unless somebody did while this process waited for the lock."""
    try:
        if (plan := entries.load(folder, inputs)) is not None:
            return plan
    except Damaged as error:
        told(f"what was built of {inputs.network} is set aside and built again: {error}", 0.0)

    def report(doing: str, done: float) -> None:
        held.note(doing, done)
        told(doing, done)

    began = time.monotonic()
    plan = make(report)
    try:
        entries.save(folder, inputs, plan, time.monotonic() - began)
    except OSError as error:
        told(f"{inputs.network} was built and cannot be kept in {folder} ({error.strerror})", 1.0)
    return plan
