"""Labels by example that cost nothing to make."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.bundle.files import load
from engines.testing import tiny_bundle
from pipeline.analysis.label_set import LabelSet
from pipeline.bench.many_examples import examples_at_random, taught
from pipeline.bench.many_labels import many_labels
from pipeline.config.settings import Settings
from pipeline.config.worker import WorkerSettings
from pipeline.examples.encoding import ExampleSource
from pipeline.worker.model import Model


def test_every_label_has_an_example_and_a_score_of_its_own(tmp_path: Path) -> None:
    """No picture is encoded, and none of the labels is left out."""
    bundle = load(tiny_bundle(tmp_path / "tiny"))
    worker = WorkerSettings.model_validate({"bundle": str(bundle.path), "backend": "onnxruntime", "threads": 1})
    model = Model(bundle, Settings(worker=worker), examples=ExampleSource(lambda keys: (), tmp_path / "items"))
    examples_at_random(model, 5)
    labels = tuple(taught(label, number) for number, label in enumerate(many_labels(bundle, 5)))
    view = model.embed(LabelSet(labels, 0))
    assert view.labels == labels and view.compares
    sequences = model.engine.prototypes(np.ones((1, 8, 16), np.float32), np.zeros((1, 16), np.float32))
    assert len(set(view.score(sequences[:, 0], sequences[:, 0], sequences)[0])) == 5
    model.close()
