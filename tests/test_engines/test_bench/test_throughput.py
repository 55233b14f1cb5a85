from __future__ import annotations

import json

import pytest

from engines.bench.throughput import Report, bench
from engines.bundle.files import Bundle


@pytest.fixture(scope="module")
def report(tiny: Bundle) -> Report:
    """A quick run: small matrices, one short round."""
    return bench(tiny, batches=(1, 3), seconds=0.005, rounds=1, size=64)


def test_every_backend_and_stage_is_measured(report: Report) -> None:
    """Both backends of a CPU, both stages, each batch, with figures that hang together; a GPU may be there or not."""
    rows = {(row.backend, row.stage, row.batch) for row in report.measurements}
    assert {row for row in rows if row[0] != "tensorrt"} == {
        (backend, stage, batch)
        for backend in ("openvino", "onnxruntime")
        for stage in ("encode", "embed")
        for batch in (1, 3)
    }
    assert set(report.unavailable) <= {"tensorrt"} and report.gemm_gflops > 0
    assert all(row.per_second > 0 and row.latency_ms > 0 for row in report.measurements)


def test_operations_are_counted(report: Report) -> None:
    """The tiny image network is one product of 12 by 16: 2 x 12 x 16 operations per frame, and none in its head."""
    assert report.frame_gflop == pytest.approx(2 * 12 * 16 / 1e9)
    assert report.window_gflop == 0
    for row in report.measurements:
        work = report.frame_gflop if row.stage == "encode" else 0
        assert row.peak_fraction == pytest.approx(work * row.per_second / report.gemm_gflops)


def test_a_clip_bundle_is_measured_by_the_window(tiny_clip: Bundle) -> None:
    """A clip bundle does no work in encode; its window costs 8 frames."""
    report = bench(tiny_clip, batches=(2,), seconds=0.005, rounds=1, size=64)
    assert {row.stage for row in report.measurements} == {"embed"}
    assert report.window_gflop == pytest.approx(8 * 2 * 12 * 16 / 1e9)


def test_the_report_is_text_and_json(report: Report) -> None:
    """Both forms name the bundle, and the JSON survives a round trip."""
    assert report.text().startswith("tiny@0.1.0 on ")
    assert json.loads(json.dumps(report.data()))["measurements"][0]["backend"] == "openvino"
