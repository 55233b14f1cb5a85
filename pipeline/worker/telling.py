"""What the inference thread tells the metrics and the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from pipeline.clock import SECOND
from pipeline.metrics import WorkerMetrics
from pipeline.worker.lanes import Fired
from pipeline.worker.path import Outcome
from pipeline.worker.streams import Tally

log = structlog.get_logger(__name__)


class Telling:
    """Turns running totals into what was added since the last batch."""

    def __init__(self, metrics: WorkerMetrics, now_ns: Callable[[], int]) -> None:
        self._metrics = metrics
        self._now_ns = now_ns
        self._dropped: Counter[str] = Counter()
        self._live = 0.0
        self._of: Tally | None = None

    def batch(self, outcome: Outcome, tally: Tally) -> None:
        """A batch was processed; `tally` is the running total of its path."""
        if tally is not self._of:  # another path began to count at zero
            self._of, self._dropped, self._live = tally, Counter(), 0.0
        self._metrics.batch(outcome.frames, outcome.windows)
        self._metrics.covered(tally.live_seconds - self._live, outcome.seconds)
        if outcome.newest_ns:
            self._metrics.lag((self._now_ns() - min(outcome.newest_ns.values())) / SECOND)
        for reason, count in (tally.dropped - self._dropped).items():
            self._metrics.dropped(reason, count)
        self._dropped, self._live = Counter(tally.dropped), tally.live_seconds

    def committed(self, fired: Sequence[Fired], dead: int) -> None:
        """These events and so many dead letters are visible now."""
        now = self._now_ns()
        for one in fired:
            event = one.event
            latency = None if one.capture_ns is None else (now - one.capture_ns) / SECOND
            self._metrics.event(event.phase, event.camera, latency)
            log.info("event", phase=event.phase, camera=event.camera, label=event.label, id=event.id)
        for _ in range(dead):
            self._metrics.dead_letter()
            self._metrics.dropped("bad_record")
