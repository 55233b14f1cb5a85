"""Cameras that send without end, on the worker's path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.testing import tiny_bundle
from engines.text.text_bank import TextEncoder
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_labels import embed_at_random, many_labels
from pipeline.bench.streams import PARTITIONS, Streams
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.records.labels import Label
from pipeline.worker.model import Model, load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A bundle that knows colours, with windows of four frames."""
    path = tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", frames=4)
    loaded = load_model(
        Settings(worker=WorkerSettings(bundle=str(path), backend="onnxruntime", threads=1)),
        cache=tmp_path_factory.mktemp("cache"),
    )
    yield loaded
    loaded.close()


@pytest.mark.parametrize("cameras", [1, 5, PARTITIONS + 3])
def test_every_camera_sends_a_frame_at_every_tick(model: Model, cameras: int) -> None:
    """After its first windows' worth of frames each ends a window with every frame, whatever partition it is in."""
    streams = Streams(model, model.embed(LabelSet((Label("red", "red"),), 0)), cameras, batch=cameras)
    streams.open()
    streams.warm_up()

    outcomes = [streams.run() for _ in range(3)]

    for outcome in outcomes:
        assert outcome.frames == {f"camera-{number:04}": 1 for number in range(cameras)} == dict(outcome.scored)


def test_rewound_frames_are_not_encoded_before_a_window_needs_them(model: Model) -> None:
    """As after a restart: frames below the committed position fill the rings, and the next one ends a window."""
    streams = Streams(model, model.embed(LabelSet((), 0)), 2, batch=2)
    streams.open(rewound=6)

    assert [sum(streams.run().frames.values()) for _ in range(6)] == [0] * 6
    outcome = streams.run()
    assert sum(outcome.frames.values()) == 2 * 4 and outcome.windows == 2


def test_another_set_is_in_force_from_its_marker_on(model: Model) -> None:
    """The events that are open of a label that is gone end there, in every partition."""
    red = model.embed(LabelSet((Label("l", "red", enter=0.001, exit=0.0005, confirm=1, min_seconds=0.0),), 0))
    streams = Streams(model, red, 3, batch=3)
    streams.open()
    phases = Counter(one.event.phase for _ in range(12) for one in streams.run().fired)
    assert phases["started"] == 3

    ended = streams.relabel(model.embed(LabelSet((), 1))).fired

    assert [(one.event.phase, one.event.reason, one.event.labels_version) for one in ended] == [
        ("ended", "label", 1)
    ] * 3


def test_labels_by_the_thousand_cost_no_embedding(model: Model, tmp_path: Path) -> None:
    """They are different texts in words that the bundle knows, and all of them are in the cache."""
    labels = many_labels(model.bundle, 1000)
    assert len({label.text for label in labels}) == 1000 and labels[:10] == many_labels(model.bundle, 10)
    assert model.check.problems(labels) == {}
    embed_at_random(model.bundle, labels[:20], tmp_path)
    encoder = TextEncoder(model.bundle, cache=tmp_path)
    assert encoder.bank([label.text for label in labels[:20]]).embeddings.shape[0] == 20
    assert not encoder.opened
