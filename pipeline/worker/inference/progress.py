"""What the inference threads tell the metrics and the judge of swaps: batches, and what was committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from pipeline.analysis.analyser import Outcome
from pipeline.analysis.camera_streams import Tally
from pipeline.analysis.partition import Fired
from pipeline.analysis.ticks import SECOND
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.after_swap.event_rate import EventRate

log = structlog.get_logger(__name__)


class Progress:
    """Reports batches, as differences of running totals, and commits. Each of the two may have a thread of its own."""

    def __init__(self, metrics: WorkerMetrics, event_rate: EventRate, now_ns: Callable[[], int]) -> None:
        self._metrics, self._event_rate = metrics, event_rate
        self._now_ns = now_ns
        self._dropped: Counter[str] = Counter()
        self._live = 0.0
        self._of: Tally | None = None

    def batch(self, outcome: Outcome, tally: Tally) -> None:
        """Report a prepared batch. tally: the running totals of its analyser."""
        if tally is not self._of:  # another analyser, which counts from zero
            self._of, self._dropped, self._live = tally, Counter(), 0.0
        self._metrics.batch(outcome.frames, outcome.scored)
        self._event_rate.covered(outcome.scored, outcome.seconds)
        self._metrics.covered(tally.live_seconds - self._live, outcome.seconds)
        if outcome.captured_ns:
            self._metrics.lag(_lag(outcome.captured_ns, self._now_ns()))
        for reason, count in (tally.dropped - self._dropped).items():
            self._metrics.dropped(reason, count)
        self._dropped, self._live = Counter(tally.dropped), tally.live_seconds

    def committed(self, fired: Sequence[Fired], dead: int) -> None:
        """Report the events that are visible now, and the number of dead letters."""
        now = self._now_ns()
        for one in fired:
            event = one.event
            latency = None if one.capture_ns is None else (now - one.capture_ns) / SECOND
            self._metrics.event(event.phase, event.camera, latency)
            if event.phase == "started":
                self._event_rate.started(event.started_by.bundle, event.label_id)
            log.info("event", phase=event.phase, camera=event.camera, label=event.label, id=event.id)
        for _ in range(dead):
            self._metrics.dead_letter()
            self._metrics.dropped("bad_record")


def _lag(captured_ns: Sequence[tuple[Partition, int]], now_ns: int) -> float:
    """Age in seconds of the newest frame of the partition that is furthest behind.

    A camera whose clock runs ahead must not hide that the others of its partition are late: its frames count only where
    there are no others, and then as new.
    """
    newest: dict[Partition, int] = {}
    for partition, at in captured_ns:
        newest[partition] = max(newest.get(partition, at if at <= now_ns else 0), at if at <= now_ns else 0)
    return max((now_ns - at) / SECOND if at else 0.0 for at in newest.values())
