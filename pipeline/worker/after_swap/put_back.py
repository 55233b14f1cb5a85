"""Puts a channel back from a bundle that says more than twice as many events as the one before it.

this worker took B from A, and B says more than twice as much  ->  said in the log, counted, which has an alert
    the channel still stands on B                              ->  it stands on A again; all workers follow it
    it stands elsewhere                                        ->  another worker, or a person, was faster
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from engines.bundle.files import Bundle
from engines.errors import EngineError
from pipeline.worker.after_swap.event_rate import Doubled, EventRate

log = structlog.get_logger(__name__)

LEFT = "left where it is (worker.doubled_events)"


def judged(
    current: Iterator[Path | None],
    event_rate: EventRate,
    in_use: Callable[[], tuple[Bundle, Bundle | None]],
    found_doubled: Callable[[], None],
    put_back: Callable[[str, str], bool] | None,
) -> Iterator[Path | None]:
    """Yield what `current` yields, and before each look judge the bundle in use.

    in_use: it, and the one before it. found_doubled: called once for each bundle that is found to say too much.
    put_back: moves the channel from the first version to the second, see `engines.bundle.store.put_back`; None leaves
    it.
    """
    while True:
        doubled = event_rate.doubled()
        bundle, before = in_use()
        if doubled is not None and before is not None:
            channel = LEFT if put_back is None else _put_back(bundle, before, put_back)
            _say(doubled, bundle, before, channel)
            found_doubled()
        yield next(current)


def _put_back(bundle: Bundle, before: Bundle, put_back: Callable[[str, str], bool]) -> str:
    """Return what became of the channel."""
    try:
        moved = put_back(bundle.manifest.version, before.manifest.version)
    except (EngineError, OSError) as error:
        return f"cannot be put back ({error}); do it with `actionwire-engines rollback {bundle.manifest.name}`"
    return f"stands on {before.label} again" if moved else "stands elsewhere already"


def _say(doubled: Doubled, bundle: Bundle, before: Bundle, channel: str) -> None:
    log.error(
        "a bundle says more than twice as many events as the one before it",
        bundle=bundle.label,
        events=str(doubled.after),
        before=before.label,
        events_before=str(doubled.before),
        channel=channel,
    )
