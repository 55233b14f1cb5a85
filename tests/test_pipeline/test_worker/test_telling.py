from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from pipeline.analysis.analyser import Outcome
from pipeline.analysis.camera_streams import Tally
from pipeline.analysis.ticks import SECOND
from pipeline.metrics import WorkerMetrics
from pipeline.records.wire import Partition
from pipeline.worker.inference_thread import Telling


@pytest.mark.parametrize(
    ("ages", "lag"),
    [({0: 0.1, 1: 900.0}, 900.0), ({0: 0.1}, 0.1)],
)
def test_the_lag_is_that_of_the_partition_that_is_furthest_behind(ages: Mapping[int, float], lag: float) -> None:
    """Fresh frames of the others must not hide a partition that is a quarter of an hour late."""
    registry = CollectorRegistry()
    telling = Telling(WorkerMetrics(registry), lambda: 1000 * SECOND)
    newest = {Partition("frames", number): round((1000 - age) * SECOND) for number, age in ages.items()}

    telling.batch(Outcome(newest_ns=newest), Tally())

    assert registry.get_sample_value("actionwire_lag_seconds") == pytest.approx(lag)
