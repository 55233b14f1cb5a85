"""What the inference threads tell the metrics."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from pipeline.analysis.analyser import Outcome
from pipeline.analysis.camera_streams import Tally
from pipeline.analysis.ticks import SECOND
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.after_swap.event_rate import EventRate
from pipeline.worker.inference.progress import Progress


@pytest.mark.parametrize(
    ("ages", "lag"),
    [
        ([(0, 0.1), (1, 900.0)], 900.0),
        ([(0, 0.1)], 0.1),
        ([(0, 9.0), (0, 0.1), (0, 5.0)], 0.1),
        ([(0, -2.8e9), (0, 900.0)], 900.0),
        ([(0, -2.8e9), (1, 3.0)], 3.0),
        ([(0, -0.5)], 0.0),
    ],
)
def test_the_lag_is_that_of_the_partition_that_is_furthest_behind(ages: list[tuple[int, float]], lag: float) -> None:
    """Neither fresh frames of the others nor a camera whose clock runs ahead hide a partition that is late."""
    registry = CollectorRegistry()
    progress = Progress(WorkerMetrics(registry), EventRate(), lambda: 1000 * SECOND)
    captured = [(Partition("frames", number), round((1000 - age) * SECOND)) for number, age in ages]

    progress.batch(Outcome(captured_ns=captured), Tally())

    assert registry.get_sample_value("actionwire_lag_seconds") == pytest.approx(lag)
